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

pub static CONNECTIONS: LazyLock<Gauge> = LazyLock::new(Gauge::default);
pub static MESSAGES: LazyLock<Counter> = LazyLock::new(Counter::default);
pub static CLOSED: LazyLock<Family<[(&str, u32); 1], Counter>> = LazyLock::new(Family::default);
pub static TOLD: LazyLock<Histogram> = LazyLock::new(|| Histogram::new(BUCKETS));

/// Answers `GET /metrics` at this address from now on.
///
/// # Errors
///
/// A sentence when it cannot listen there.
pub async fn listen(address: String) -> Result<()> {
    let mut registry = Registry::with_prefix("chat");
    registry.register("connections", "People's connections", CONNECTIONS.clone());
    registry.register("messages", "What was said and written down", MESSAGES.clone());
    registry.register("closed", "Conversations that ended, by close code", CLOSED.clone());
    registry.register("told_seconds", "From a message until all were sent it", TOLD.clone());
    let figures = move |request: &Request, _: &mut _| {
        let mut text = String::new();
        encode(&mut text, &registry).ok()?;
        (request.uri().path() == "/metrics").then(|| respond(StatusCode::OK, text.trim_end()))
    };
    let listeners = listen::bind(&address).await?;
    let server = Server::new(Flags { address, ..Flags::default() }).process_request(figures);
    let never = CancellationToken::new();
    tokio::spawn(server.run(listeners, |_, _| Box::pin(async { Ok(()) }), never));
    Ok(())
}
