//! The real `replank serve` as a process, and what an operator asks of it.

use replank_common::ids::HostName;
use replank_coordinator::config::{Folder, Settings};
use replank_coordinator::store::Database;
use replank_core::run::RunView;
use replank_identity::files::{read_certificate, read_identity};
use replank_identity::{AuthorityCert, CredentialStore, Credentials, PrivateKey, Role, tls};
use replank_proto::v1::operator_service_client::OperatorServiceClient;
use replank_proto::v1::*;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::Status;
use tonic::transport::Channel;

use crate::agent::{self, Host, now};
use crate::coordinator::init;
use crate::ports::free_address;

/// For everything that is waited for together.
const TIME_MAX: Duration = Duration::from_secs(300);

pub struct Operator {
    address: SocketAddr,
    credentials: Arc<CredentialStore>,
}

pub type Client = OperatorServiceClient<Channel>;

impl Operator {
    pub fn of(folder: &Folder, address: SocketAddr) -> Self {
        let authority = AuthorityCert::from_pem(&read_certificate(&folder.authority()).unwrap()).unwrap();
        let pair = read_identity(&folder.operator()).unwrap();
        let key = PrivateKey::from_pem(&pair.key).unwrap();
        let credentials = Credentials::new(&pair.chain, &key, &authority, now()).unwrap();
        Self { address, credentials: CredentialStore::new(credentials) }
    }

    /// One call, on a connection of its own.
    pub async fn call<T, F: Future<Output = Result<T, Status>>>(
        &self,
        call: impl FnOnce(Client) -> F,
    ) -> Result<T, Status> {
        let config = tls::client_config(&self.credentials, Arc::new(tls::SystemClock)).unwrap();
        let channel = agent::channel(self.address, config).await;
        call(Client::new(channel.map_err(|error| Status::unavailable(error.to_string()))?)).await
    }

    pub async fn view(&self) -> Result<RunView, Status> {
        let answer =
            self.call(|mut client| async move { client.get_run(GetRunRequest::default()).await }).await?;
        Ok(serde_json::from_slice(&answer.into_inner().run_json).unwrap())
    }

    /// Tries until the coordinator lives long enough to show that it is so.
    pub async fn until(
        &self,
        what: &str,
        begun: Instant,
        wish: impl Fn(&RunView) -> bool,
        mut ask: impl AsyncFnMut(),
    ) {
        loop {
            let view = self.view().await;
            match &view {
                Ok(view) if wish(view) => return,
                Ok(_) | Err(_) => ask().await,
            }
            assert!(begun.elapsed() < TIME_MAX, "{what} did not come: {view:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Makes an identity beside the coordinator, as enrolment would: what is tested here are runs.
pub fn identity(folder: &Folder, name: &str) -> Host {
    let (cert, key) = (
        read_certificate(&folder.authority()).unwrap(),
        std::fs::read_to_string(folder.authority_key()).unwrap(),
    );
    let authority = replank_identity::Authority::load(&cert, &key).unwrap();
    let key = PrivateKey::generate().unwrap();
    let role = Role::Host(HostName::new(name).unwrap());
    let day = Duration::from_secs(86_400);
    let issued = authority.issue(&key.request().unwrap(), &role, day, now()).unwrap();
    let credentials = Credentials::new(&issued.to_pem(), &key, authority.cert(), now()).unwrap();
    Database::open(&folder.database()).unwrap().record_issued(&[issued], 1).unwrap();
    Host::with(name, CredentialStore::new(credentials))
}

pub fn prepare(dir: &Path) -> (Folder, SocketAddr) {
    init(dir);
    let folder = Folder::new(dir);
    let address = move_to_another_address(&folder);
    (folder, address)
}

/// The next start listens where nobody else does.
pub fn move_to_another_address(folder: &Folder) -> SocketAddr {
    let mut settings = Settings::read(&folder.settings()).unwrap();
    (settings.listen, settings.metrics) = (free_address(), free_address());
    std::fs::write(folder.settings(), toml::to_string(&settings).unwrap()).unwrap();
    settings.listen
}
