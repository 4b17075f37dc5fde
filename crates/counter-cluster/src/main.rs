//! WS server example that synchronizes state across clients of many servers.
//!
//! Run `cargo run -p counter-cluster -- --redis redis://127.0.0.1/ localhost:7001`, and again
//! with another port. Both show the same counter, because the counter is in Redis.
//!
//! Data flows one way. A click goes from the socket to the handler and into a queue. The node
//! ([`node`]) sends all clicks in the queue to Redis. An update from Redis changes the copy of the
//! counter ([`counter`]), and its events go onto the tape and from there to the sockets.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod click;
mod connection;
mod counter;
mod flags;
mod node;
mod update;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use common::events::{Action, Event};
use futures_util::StreamExt;
use tokio::select;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::info;
use websockets::fanout::Fanout;
use websockets::{Result, Server, Socket, log, report};

use crate::click::Click;
use crate::counter::Counter;
use crate::flags::ClusterFlags;
use crate::node::{MAX_QUEUED_CLICKS, Node};

const PAGE: &str = include_str!("../../../web/counter.html");

/// The time limit for the last call to Redis when this server ends.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// What all connections share: the copy of the counter, and the queue of clicks.
type Shared = (Arc<Fanout<Counter>>, mpsc::Sender<Click>);

async fn handle(socket: &mut Socket, (counter, to_redis): Shared) -> Result<()> {
    // Register user; dropping it unregisters the user, however this function ends
    let mut user = counter.subscribe();
    let (refusal_sender, mut refusals) = click::refusal_channel();
    loop {
        select! {
            biased;
            // Refusals come first, so that the user receives them before any later state.
            Some(refusal) = refusals.next() => send_error(socket, refusal).await?,
            // Send users and state to user as they change, and receive its clicks
            message = user.next(socket) => {
                let Some(message) = message? else { return Ok(()) };
                match Action::from_json(&message.into_data()) {
                    // Redis makes the change. This user receives the new state like everyone else.
                    Ok(action) => {
                        let refusal_sender = refusal_sender.clone();
                        to_redis.send(Click { action, refusal_sender }).await?;
                    }
                    Err(message) => {
                        info!(peer = socket.remote_address().map(display), "rejected: {message}");
                        send_error(socket, message).await?;
                    }
                }
            }
        }
    }
}

async fn send_error(socket: &mut Socket, message: impl Into<String>) -> Result<()> {
    let event = Event::Error { message: message.into() };
    Ok(socket.send(event.to_json()).await?)
}

async fn run() -> Result<()> {
    let flags: ClusterFlags = websockets::flags::parse_with_default_address("localhost:6789");
    let shared = Fanout::new(Counter::new());
    let (to_redis, clicks) = mpsc::channel(MAX_QUEUED_CLICKS);
    let (leave_sender, leave) = oneshot::channel();
    let node = Node::start(&flags, clicks, shared.clone(), leave).await?;

    let for_readyz = shared.clone();
    let server =
        Server::new(flags.server).page(PAGE).ready(move || for_readyz.read(Counter::ready));
    server.serve_with((shared, to_redis), handle).await?;
    // Tell Redis that this server leaves, so that the others need not wait for the end of its lease
    drop(leave_sender);
    _ = timeout(LEAVE_TIMEOUT, node).await;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    log::init();
    report(run().await)
}
