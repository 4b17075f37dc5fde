//! Metrics for Prometheus. They have an address of their own, because they are not for the public.

use std::future::pending;
use std::sync::{Arc, LazyLock};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;
use websockets::tungstenite::http::StatusCode;
use websockets::{Flags, Request, Response, Result, Server, Socket, listen, respond, with};

/// In seconds. Most messages take about 1 ms. A message that waits for a stalled client takes 10 s.
const BUCKETS: [f64; 8] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1., 10.];

pub static CONNECTIONS: LazyLock<Gauge> = LazyLock::new(Gauge::default);
pub static MESSAGES: LazyLock<Counter> = LazyLock::new(Counter::default);
pub static CLOSED: LazyLock<Family<[(&str, u32); 1], Counter>> = LazyLock::new(Family::default);
pub static DELIVERY: LazyLock<Histogram> = LazyLock::new(|| Histogram::new(BUCKETS));

/// Serves `GET /metrics` at this address until the program ends.
///
/// # Errors
///
/// An error message if it cannot listen there.
pub async fn listen(address: String) -> Result<()> {
    let mut registry = Registry::with_prefix("chat");
    registry.register("connections", "Open connections", CONNECTIONS.clone());
    registry.register("messages", "Messages stored", MESSAGES.clone());
    registry.register("closed", "Closed connections, by close code", CLOSED.clone());
    let delivery = "Time until a message was sent to everyone in its room";
    registry.register("delivery_seconds", delivery, DELIVERY.clone());
    let listeners = listen::bind(&address).await?;
    let server = Server::new(Flags { address, ..Flags::default() })
        .process_request(with(Arc::new(registry), answer));
    tokio::spawn(server.serve_on(listeners, close, pending()));
    Ok(())
}

async fn answer(request: &mut Request, registry: Arc<Registry>) -> Option<Response> {
    let mut text = String::new();
    encode(&mut text, &registry).ok()?;
    (request.uri().path() == "/metrics").then(|| respond(StatusCode::OK, text.trim_end()))
}

/// Metrics have no use for a WebSocket.
async fn close(_: &mut Socket) -> Result<()> {
    Ok(())
}
