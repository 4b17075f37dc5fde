//! WS server example that synchronizes state across clients.
//!
//! Run `cargo run -p counter-server` and open http://localhost:6789/ in several browser windows.
//! You will see one counter: a click in any window changes it in all of them.

mod room;
mod tape;

use std::process::ExitCode;
use std::sync::Arc;

use common::events::{Action, Event};
use common::flags::Flags;
use common::{Result, Server, Socket, remote_address};
use futures_util::{SinkExt, StreamExt};
use tokio::select;
use tracing::info;
use tungstenite::Message;

use crate::room::Room;

const PAGE: &str = include_str!("../../../web/counter.html");

async fn counter(socket: &mut Socket, room: Arc<Room>) -> Result<()> {
    // Register user; it is unregistered when this is dropped, however the conversation ends.
    let mut user = room.register();
    loop {
        select! {
            biased;
            // Manage state changes
            message = socket.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                let done = Action::from_json(&message.into_data()).and_then(|a| user.apply(a));
                if let Err(message) = done {
                    info!(peer = ?remote_address(socket), "refused: {message}");
                    socket.send(Message::text(Event::Error { message }.to_json())).await?;
                }
            }
            // Send users and state to user, first as they are, then as they change
            news = user.news() => socket.send_encoded(news).await?,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let server = Server::new(Flags::parse_or("localhost:6789")).page(PAGE);
    let room = Room::open();

    common::report(server.serve(move |socket| Box::pin(counter(socket, room.clone()))).await)
}
