//! WS server example that synchronizes state across clients of many servers.
//!
//! Run `cargo run -p counter-cluster -- --redis redis://127.0.0.1/ localhost:7001`, and once more
//! with another port. You will see one counter at both: it is in Redis.
//!
//! Data flows one way. A click goes from the socket to the handler, into a queue, and with all
//! others that wait there to Redis ([`node`]). What Redis says goes into the copy of the counter
//! ([`mod@counter`]) and onto the tape, and from there to the sockets.

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
use common::fanout::Fanout;
use common::{Result, Server, Socket};
use futures_util::{SinkExt, StreamExt};
use tokio::select;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::info;
use tungstenite::Message;

use crate::click::Click;
use crate::counter::Counter;
use crate::flags::ClusterFlags;
use crate::node::{Node, QUEUE};

const PAGE: &str = include_str!("../../../web/counter.html");

/// How long the farewell to Redis may take.
const FAREWELL: Duration = Duration::from_secs(1);

async fn counter(
    socket: &mut Socket,
    counter: Arc<Fanout<Counter>>,
    to_redis: mpsc::Sender<Click>,
) -> Result<()> {
    // Register user; it is unregistered when this is dropped, however the conversation ends.
    let mut user = counter.subscribe();
    let (refused, mut refusals) = click::refusals();
    // Send users and state to user
    socket.send_encoded(user.recv().await).await?;
    loop {
        select! {
            biased;
            // Clicks that were not counted come first: who is refused reads it before it goes on.
            Some(refusal) = refusals.next() => refuse(socket, refusal.sentence()).await?,
            message = socket.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                match Action::from_json(&message.into_data()) {
                    // Changes are made in Redis. This user hears of it as everyone does.
                    Ok(action) => to_redis.send(Click { action, refused: refused.clone() }).await?,
                    Err(message) => {
                        info!(peer = socket.remote_address().map(display), "refused: {message}");
                        refuse(socket, message).await?;
                    }
                }
            }
            // Send users and state to user as they change
            frames = user.recv() => socket.send_encoded(frames).await?,
        }
    }
}

async fn refuse(socket: &mut Socket, message: impl Into<String>) -> Result<()> {
    let event = Event::Error { message: message.into() };
    Ok(socket.send(Message::text(event.to_json())).await?)
}

async fn run() -> Result<()> {
    let flags = ClusterFlags::parse_or("localhost:6789");
    let shared = Fanout::new(Counter::new());
    let (to_redis, clicks) = mpsc::channel(QUEUE);
    let (leave, leaving) = oneshot::channel();
    let node = Node::start(&flags, clicks, shared.clone(), leaving).await?;

    let looked_at = shared.clone();
    let server = Server::new(flags.server).page(PAGE).ready(move || looked_at.read(Counter::ready));
    server
        .serve(move |socket, _| Box::pin(counter(socket, shared.clone(), to_redis.clone())))
        .await?;
    // Rather than let the others wait for the end of this server's lease
    drop(leave);
    _ = timeout(FAREWELL, node).await;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    common::log::init();
    common::report(run().await)
}
