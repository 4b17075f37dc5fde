//! WS server example that synchronizes state across clients.
//!
//! Run `cargo run -p counter-server` and open http://localhost:6789/ in several browser windows.
//! You will see one counter: a click in any window changes it in all of them.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod counter;

use std::process::ExitCode;
use std::sync::Arc;

use common::events::{Action, Event};
use tracing::info;
use websockets::fanout::Fanout;
use websockets::{Flags, Result, Server, Socket, log, report};

use crate::counter::Counter;

const PAGE: &str = include_str!("../../../web/counter.html");

async fn handle(socket: &mut Socket, shared: Arc<Fanout<Counter>>) -> Result<()> {
    // Register user; dropping it unregisters the user, however this function ends
    let mut user = shared.subscribe();
    // Send users and state to user, and manage state changes
    loop {
        let Some(message) = user.next(socket).await? else { return Ok(()) };
        let result = Action::from_json(&message.into_data())
            .and_then(|action| shared.change(|state, frames| state.apply(action, frames)));
        if let Err(message) = result {
            info!(peer = socket.remote_address().map(display), "rejected: {message}");
            socket.send(Event::Error { message }.to_json()).await?;
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    log::init();
    let flags = Flags::parse_with_default_address("localhost:6789");
    // The page of the Python version is opened as a file, and anyone may click.
    let server = Server::new(flags).page(PAGE).allow_null_origin();

    report(server.serve_with(Fanout::new(Counter::default()), handle).await)
}
