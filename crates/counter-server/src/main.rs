//! WS server example that synchronizes state across clients.
//!
//! Run `cargo run -p counter-server` and open http://localhost:6789/ in several browser windows.
//! You will see one counter: a click in any window changes it in all of them.

mod counter;

use std::process::ExitCode;
use std::sync::Arc;

use common::events::{Action, Event};
use common::fanout::Fanout;
use common::{Flags, Result, Server, Socket};
use futures_util::{SinkExt, StreamExt};
use tokio::select;
use tracing::info;
use tungstenite::Message;

use crate::counter::Counter;

const PAGE: &str = include_str!("../../../web/counter.html");

async fn counter(socket: &mut Socket, counter: Arc<Fanout<Counter>>) -> Result<()> {
    // Register user; it is unregistered when this is dropped, however the conversation ends.
    let mut user = counter.subscribe();
    // Send users and state to user
    socket.send_encoded(user.recv().await).await?;
    loop {
        select! {
            biased;
            // Manage state changes
            message = socket.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                let done = Action::from_json(&message.into_data())
                    .and_then(|action| counter.change(|counter, to_all| counter.apply(action, to_all)));
                if let Err(message) = done {
                    info!(peer = socket.remote_address().map(display), "refused: {message}");
                    socket.send(Message::text(Event::Error { message }.to_json())).await?;
                }
            }
            // Send users and state to user as they change
            news = user.recv() => socket.send_encoded(news).await?,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    common::log::init();
    let server = Server::new(Flags::parse_or("localhost:6789")).page(PAGE);
    // The original's page is opened as a file; and anyone may click.
    let server = server.allow_null_origin();
    let shared = Fanout::new(Counter::default());

    common::report(server.serve(move |socket, _| Box::pin(counter(socket, shared.clone()))).await)
}
