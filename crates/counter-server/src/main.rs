//! WS server example that synchronizes state across clients.
//!
//! Run `cargo run -p counter-server` and open http://localhost:6789/ in several browser windows.
//! You will see one counter: a click in any window changes it in all of them.

mod room;
mod tape;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use common::events::{Action, Event};
use common::flags::{self, Flags};
use common::{Result, Server, Socket, remote_address};
use futures_util::{SinkExt, StreamExt};
use tokio::select;
use tracing::info;
use tungstenite::Message;

use crate::room::{Room, Sharing};

const PAGE: &str = include_str!("../../../web/counter.html");

async fn counter(socket: &mut Socket, room: Arc<Room>) -> Result<()> {
    // Register user; it is unregistered when this is dropped, however the conversation ends.
    let mut user = room.register();
    // Send users and state to user
    socket.send_encoded(user.news().await).await?;
    loop {
        select! {
            biased;
            // Manage state changes
            message = socket.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                let done = match Action::from_json(&message.into_data()) {
                    Ok(action) => user.apply(action).await,
                    Err(message) => Err(message),
                };
                if let Err(message) = done {
                    info!(peer = ?remote_address(socket), "refused: {message}");
                    socket.send(Message::text(Event::Error { message }.to_json())).await?;
                }
            }
            // Send users and state to user as they change
            news = user.news() => socket.send_encoded(news).await?,
        }
    }
}

#[derive(Parser)]
struct CounterFlags {
    #[command(flatten)]
    flags: Flags,

    #[command(flatten)]
    sharing: Sharing,
}

async fn run() -> Result<()> {
    let CounterFlags { flags, sharing } = flags::parse_or("localhost:6789");
    let server = Server::new(flags).page(PAGE);
    let room = Room::open(&sharing).await?;
    let (users, health) = (room.clone(), room.clone());
    let server = server.trouble(move || health.trouble());

    server.serve(move |socket| Box::pin(counter(socket, users.clone()))).await?;
    room.close().await;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    common::report(run().await)
}
