//! Metrics for Prometheus. They have an address of their own, because they are not for the public.

use std::future::pending;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;
use websockets::tungstenite::http::{HeaderValue, StatusCode, header};
use websockets::{Flags, Request, Response, Result, Server, Socket, listen, respond, with};

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// In seconds. Most messages take about 1 ms. A message that waits for a stalled client takes 10 s.
const BUCKETS: [f64; 8] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1., 10.];

pub static CONNECTIONS: LazyLock<Gauge> = LazyLock::new(Gauge::default);
pub static MESSAGES: LazyLock<Counter> = LazyLock::new(Counter::default);
pub static ROOMS: LazyLock<Gauge> = LazyLock::new(Gauge::default);
pub static DATABASE_ERRORS: LazyLock<Counter> = LazyLock::new(Counter::default);
pub static DELIVERY: LazyLock<Histogram> = LazyLock::new(|| Histogram::new(BUCKETS));

type Labelled = LazyLock<Family<[(&'static str, String); 1], Counter>>;
static CLOSED: Labelled = LazyLock::new(Family::default);
static REJECTED: Labelled = LazyLock::new(Family::default);

/// The close codes of the protocol. A client may send any other, and each label uses memory in this
/// program and in Prometheus.
const CLOSE_CODES: [u16; 11] = [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1013];

pub fn count_close(code: u16) {
    let is_known = CLOSE_CODES.contains(&code);
    let code = if is_known { code.to_string() } else { "other".to_owned() };
    CLOSED.get_or_create(&[("code", code)]).inc();
}

/// Counts a rejected request by its status, or a rejected message by its reason.
pub fn count_rejection(reason: &str) {
    REJECTED.get_or_create(&[("reason", reason.to_owned())]).inc();
}

/// Serves `GET /metrics` at this address until the program ends.
///
/// # Errors
///
/// An error message if it cannot listen there.
pub async fn listen(address: String) -> Result<()> {
    let mut registry = Registry::with_prefix("chat");
    registry.register("connections", "Open connections", CONNECTIONS.clone());
    registry.register("rooms", "Rooms in use", ROOMS.clone());
    registry.register("messages", "Messages stored", MESSAGES.clone());
    let rejected = "Requests that the login rejected, by status, and rejected messages, by reason";
    registry.register("rejected", rejected, REJECTED.clone());
    registry.register("database_errors", "Failed uses of the database", DATABASE_ERRORS.clone());
    registry.register("closed", "Closed connections, by close code", CLOSED.clone());
    let delivery = "Time until a message was sent to everyone in its room";
    registry.register("delivery_seconds", delivery, DELIVERY.clone());
    let listeners = listen::bind(&address).await?;
    let name = host_name(&address).to_owned();
    let server = Server::new(Flags { address, ..Flags::default() })
        .process_request(with(Arc::new((registry, name)), answer));
    tokio::spawn(server.serve_on(listeners, close, pending()));
    Ok(())
}

async fn answer(request: &mut Request, state: Arc<(Registry, String)>) -> Option<Response> {
    let (registry, own_name) = &*state;
    if request.uri().path() != "/metrics" {
        return None;
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let name = host_name(host.unwrap_or_default());
    // Any site can give its domain the address of this machine. Then a browser would let a page of
    // that site read the metrics. Such a domain has a dot.
    if name.contains('.') && name.parse::<IpAddr>().is_err() && name != own_name {
        let text = "The Host must be an address, a name without a dot, or the name in --metrics.";
        return Some(respond(StatusCode::FORBIDDEN, text));
    }
    let mut text = String::new();
    encode(&mut text, registry).ok()?;
    let mut response = Response::new(text.into());
    response.headers_mut().insert(header::CONTENT_TYPE, OPEN_METRICS);
    Some(response)
}

/// The name in `NAME:PORT` or `NAME`.
fn host_name(host: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name)
}

/// Metrics have no use for a WebSocket.
async fn close(_: &mut Socket) -> Result<()> {
    Ok(())
}
