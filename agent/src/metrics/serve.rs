//! The one port that the agent serves: `GET /metrics`, and nothing else.

use crate::codes;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What `encode` writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The address may be held by an agent that is just ending, or come with an interface that is not up yet.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Serves until `stop`. An agent whose metrics cannot be served does its work all the same, and says so.
pub async fn serve(address: SocketAddr, registry: Arc<Registry>, stop: CancellationToken) {
    let mut said = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => {
                if !said {
                    tracing::error!(
                        code = codes::METRICS_ADDRESS,
                        "no metrics at {address}: {error}; set `metrics` to a free address of this host, or to `off`"
                    );
                    said = true;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN_AFTER) => {}
            () = stop.cancelled() => return,
        }
    };
    tracing::info!("metrics at http://{address}/metrics");
    let router = router(registry);
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
    if let Err(error) = served.await {
        tracing::error!(code = codes::METRICS_ADDRESS, "metrics are not served any more: {error}");
    }
}

pub(super) fn router(registry: Arc<Registry>) -> Router {
    Router::new().route("/metrics", get(move || scrape(registry)))
}

/// Reads the ledger, so off the threads that carry the link.
async fn scrape(registry: Arc<Registry>) -> Response {
    let written = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        encode(&mut text, &registry).map(|()| text)
    });
    match written.await {
        Ok(Ok(text)) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Ok(Err(_)) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
