//! Reaching the coordinator: TCP, TLS with the identity of the moment, HTTP/2.

use super::failure::LinkError;
use crate::config::Address;
use hyper_util::rt::TokioIo;
use replank_identity::tls;
use replank_proto::MESSAGE_BYTES_MAX;
use replank_proto::v1::agent_service_client::AgentServiceClient;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

/// For name, TCP and TLS together.
pub(crate) const DIAL_TIME_MAX: Duration = Duration::from_secs(10);

/// Never resolved: the connector below knows the address. `http`, because TLS is done there too.
const ENDPOINT: &str = "http://coordinator.replank.internal";

pub(crate) type Client = AgentServiceClient<Channel>;

/// # Errors
/// The coordinator is not reached, or one side refuses the other's certificate.
pub(crate) async fn dial(address: &Address, config: Arc<rustls::ClientConfig>) -> Result<Client, LinkError> {
    let to = address.clone();
    let connector = tower::service_fn(move |_| {
        let (config, to) = (config.clone(), to.clone());
        async move {
            let socket = TcpStream::connect(to.pair()).await?;
            // A guest's death is one small message that must not wait for a second one.
            socket.set_nodelay(true)?;
            tls::connect(config, socket).await.map(TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_static(ENDPOINT).connect_timeout(DIAL_TIME_MAX);
    // The endpoint's own limit does not cover every wait inside a connector.
    let channel = match tokio::time::timeout(DIAL_TIME_MAX, endpoint.connect_with_connector(connector)).await
    {
        Ok(Ok(channel)) => channel,
        Ok(Err(error)) => return Err(LinkError::connecting(address, &error)),
        Err(_) => {
            let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
            return Err(LinkError::connecting(address, &error));
        }
    };
    Ok(AgentServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}
