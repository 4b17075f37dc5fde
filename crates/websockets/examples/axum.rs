//! A counter with three doors on one port: GET reads it, POST changes it, and a WebSocket receives
//! every change. axum owns the port, and the bridge serves the WebSocket.
//!
//! Run `cargo run -p websockets --features hyper --example axum`, then
//! `cargo run -p talk -- ws://localhost:3000/live` and
//! `curl --data '' http://localhost:3000/plus` in other terminals.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::task::JoinSet;
use tokio::time::timeout;
use websockets::fanout::{self, Fanout, Frames};
use websockets::{Bridge, Flags, Result, Server, Socket, listen, log, report, signals, with};

#[derive(Default)]
struct Counter(i64);

impl fanout::State for Counter {
    fn snapshot(&self, frames: &mut Frames) {
        frames.push(self.0.to_string());
    }
}

async fn value(State((counter, _)): State<Shared>) -> String {
    counter.read(|counter| counter.0.to_string())
}

async fn plus(State((counter, _)): State<Shared>) -> String {
    counter.change(|counter, frames| {
        counter.0 += 1;
        frames.push(counter.0.to_string());
        counter.0.to_string()
    })
}

async fn live(socket: &mut Socket, counter: Arc<Fanout<Counter>>) -> Result<()> {
    let mut subscriber = counter.subscribe();
    // Sends every change while it waits for the client, which sends nothing.
    while subscriber.next(socket).await?.is_some() {}
    Ok(())
}

async fn websocket(
    State((_, bridge)): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    bridge.upgrade(request, peer).await
}

/// What the routes share.
type Shared = (Arc<Fanout<Counter>>, Bridge);

async fn run() -> Result<()> {
    let flags = Flags::parse_with_default_address("localhost:3000");
    let stop = signals()?;
    let listeners = listen::bind(&flags.address).await?;
    let counter = Fanout::new(Counter::default());
    let bridge = Server::new(flags).bridge(with(counter.clone(), live));
    let routes = Router::new()
        .route("/", get(value))
        .route("/plus", post(plus))
        .route("/live", get(websocket))
        .with_state((counter, bridge.clone()))
        .into_make_service_with_connect_info::<SocketAddr>();
    let mut servers = JoinSet::new();
    for listener in listeners {
        websockets::print_line(&format!("listening on ws://{}/live", listener.local_addr()?));
        let server = axum::serve(listener, routes.clone());
        servers.spawn(server.with_graceful_shutdown(signals()?).into_future());
    }
    stop.await;
    // Sends 1001 to every client of the WebSocket, while axum answers the requests under way.
    bridge.shut_down().await;
    _ = timeout(Duration::from_secs(1), servers.join_all()).await;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    log::init();
    report(run().await)
}
