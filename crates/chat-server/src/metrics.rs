//! Figures for Prometheus, at an address of their own: they are nobody else's business.

use std::sync::LazyLock;

use common::server::{Server, flags::Flags, listen, respond};
use common::{Request, Result};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tungstenite::http::StatusCode;

/// In seconds: from a message that is told at once to one that waits for a dead reader.
const BUCKETS: [f64; 8] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1., 10.];

/// What is counted.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    connections: Gauge::default(),
    messages: Counter::default(),
    closed: Family::default(),
    told: Histogram::new(BUCKETS),
});

pub struct Metrics {
    pub connections: Gauge,
    pub messages: Counter,
    pub closed: Family<[(&'static str, u32); 1], Counter>,
    pub told: Histogram,
}

/// Answers `GET /metrics` at this address from now on.
///
/// # Errors
///
/// A sentence when it cannot listen there.
pub async fn listen(address: String) -> Result<()> {
    let Metrics { connections, messages, closed, told } = &*METRICS;
    let mut registry = Registry::with_prefix("chat");
    registry.register("connections", "People's connections", connections.clone());
    registry.register("messages", "What was said and written down", messages.clone());
    registry.register("closed", "Conversations that ended, by close code", closed.clone());
    registry.register("told_seconds", "From a message until all were sent it", told.clone());
    let figures = move |request: &Request, _: &mut _| {
        let mut text = String::new();
        match request.uri().path() {
            "/metrics" if encode(&mut text, &registry).is_ok() => {
                Some(respond(StatusCode::OK, text.trim_end()))
            }
            _ => Some(respond(StatusCode::NOT_FOUND, "The figures are at /metrics.")),
        }
    };
    let listeners = listen::bind(&address).await?;
    let server = Server::new(Flags { address, ..Flags::default() }).process_request(figures);
    tokio::spawn(server.run(
        listeners,
        |_, _| Box::pin(async { Ok(()) }),
        CancellationToken::new(),
    ));
    Ok(())
}
