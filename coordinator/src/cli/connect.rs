//! The connection to the coordinator, and what its answers mean here.

use super::failure::{Failure, chain, leading_code};
use super::settings::Operator;
use hyper_util::rt::TokioIo;
use replank_identity::tls;
use replank_proto::MESSAGE_BYTES_MAX;
use replank_proto::v1::operator_service_client::OperatorServiceClient;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// For name lookup, TCP and TLS together.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// For an answer that needs no host to be asked.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// A coordinator that vanishes without a word is noticed within the sum of both.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIME_MAX: Duration = Duration::from_secs(10);

/// A connection as an operator.
#[derive(Debug, Clone)]
pub struct Coordinator {
    client: OperatorServiceClient<Channel>,
}

/// Whether a request changes something, should its answer be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    Reads,
    /// What to look at before trying again.
    Changes(&'static str),
}

impl Coordinator {
    /// Connects as the operator whose settings were read.
    ///
    /// # Errors
    /// [`Failure::Unreachable`], [`Failure::TlsRefused`]: nobody answers, or one side refuses the other's certificate.
    pub async fn dial(operator: &Operator) -> Result<Self, Failure> {
        let address = operator.coordinator.clone();
        let unreachable = |why: String| Failure::Unreachable { address: address.clone(), why };
        let config =
            tls::client_config(&operator.credentials, Arc::new(tls::SystemClock)).map_err(|error| {
                Failure::Identity {
                    what: chain(&error),
                    remedy: "name an operator's identity file in operator.toml".to_owned(),
                }
            })?;
        let target = address.clone();
        // `http`: TLS is done in the connector, and tonic must not do it again.
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| unreachable(chain(&error)))?
            .connect_timeout(CONNECT_TIME_MAX)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIME_MAX);
        let connector = tower::service_fn(move |_| {
            let (config, target) = (config.clone(), target.clone());
            async move {
                let socket = TcpStream::connect(&target).await?;
                socket.set_nodelay(true)?;
                tls::connect(config, socket).await.map(TokioIo::new)
            }
        });
        let connecting = endpoint.connect_with_connector(connector);
        // The endpoint's own limit covers less than the whole on some paths; this one covers all.
        let channel = tokio::time::timeout(CONNECT_TIME_MAX, connecting)
            .await
            .map_err(|_| unreachable(format!("no answer within {} s", CONNECT_TIME_MAX.as_secs())))?
            .map_err(|error| match tls::explain(&error) {
                Some(refusal) => Failure::TlsRefused { address: address.clone(), refusal },
                None => unreachable(chain(&error)),
            })?;
        let client = OperatorServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { client })
    }

    /// A client to make one call with.
    pub fn client(&self) -> OperatorServiceClient<Channel> {
        self.client.clone()
    }

    /// A request with the usual limit of time.
    pub fn request<T>(message: T) -> Request<T> {
        Self::request_within(message, ANSWER_TIME_MAX)
    }

    pub fn request_within<T>(message: T, limit: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(limit);
        request
    }

    /// What a status means for whoever asked.
    pub fn failure(&self, asks: Asks, status: &Status) -> Failure {
        let text = status.message().to_owned();
        let code = leading_code(&text).map(str::to_owned);
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => broken(asks, text),
            // The transport's own failures are of this code, without one of the coordinator's.
            Code::Unknown if code.is_none() => broken(asks, chain(status)),
            Code::Unimplemented => {
                Failure::Answer { what: "the request", why: "this coordinator does not know it".to_owned() }
            }
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::ResourceExhausted => Failure::Refused { code, text },
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Failure::Coordinator { code, text },
        }
    }
}

/// Whether the connection, and not the coordinator, ended a call.
pub fn is_broken(failure: &Failure) -> bool {
    matches!(failure, Failure::OutcomeUnknown { .. } | Failure::Unreachable { .. })
}

fn broken(asks: Asks, why: String) -> Failure {
    let remedy = match asks {
        Asks::Reads => "try again",
        Asks::Changes(remedy) => remedy,
    };
    Failure::OutcomeUnknown { why, remedy }
}

/// Reads a document of the coordinator's.
///
/// # Errors
/// [`Failure::Answer`].
pub fn document<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::Answer { what, why: error.to_string() })
}
