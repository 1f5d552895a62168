//! A host that lies: it has its own certificate and says that it is another host.

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use replank_identity::{AuthorityCert, CredentialStore, Credentials, PrivateKey, UnixSeconds, files, tls};
use replank_proto::v1::agent_service_client::AgentServiceClient;
use replank_proto::v1::link_request::Message;
use replank_proto::v1::{Hello, LinkRequest};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;

/// Links with the identity in `directory`, as `claimed`; gives what the coordinator answered. Blocks; for a thread in the lab's network.
///
/// # Errors
/// The identity cannot be used, or the coordinator cannot be reached.
pub fn link(directory: &Path, coordinator: SocketAddr, claimed: &str) -> Result<Result<(), tonic::Status>> {
    let pair = files::read_identity(&directory.join("identity.pem"))?;
    let authority = AuthorityCert::from_pem(&files::read_certificate(&directory.join("authority.pem"))?)?;
    let now = UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    let credentials = Credentials::new(&pair.chain, &PrivateKey::from_pem(&pair.key)?, &authority, now)?;
    let config = tls::client_config(&CredentialStore::new(credentials), Arc::new(tls::SystemClock))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let connector = tower::service_fn(move |_| {
            let config = config.clone();
            async move { tls::connect(config, TcpStream::connect(coordinator).await?).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://coordinator.replank.internal")
            .connect_with_connector(connector)
            .await
            .context("the coordinator cannot be reached")?;
        let hello = Hello {
            host: claimed.to_owned(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: uuid::Uuid::new_v4().to_string(),
            epoch_seen: 0,
            unfinished_action_ids: Vec::new(),
            observe_only: false,
            agent_start_ms: 1,
            coordinator_seen: String::new(),
        };
        let first = LinkRequest { message: Some(Message::Hello(hello)) };
        let mut client = AgentServiceClient::new(channel);
        let answered = tokio::time::timeout(Duration::from_secs(10), client.link(tokio_stream::once(first)));
        Ok(answered.await.context("the coordinator does not answer")?.map(drop))
    })
}
