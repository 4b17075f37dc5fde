//! A service with messages, flags and a page of its own.

use std::process::ExitCode;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use websockets::{CloseWith, Flags, Request, Result, Server, Socket, flags, report};

/// Greets in any language.
#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    flags: Flags,

    /// The greeting for each client
    #[arg(long, default_value = "Hello")]
    greeting: String,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[derive(Serialize)]
struct Greeting {
    text: String,
    room: String,
}

async fn greet(socket: &mut Socket, request: Request, greeting: Arc<str>) -> Result<()> {
    let room = request.uri().path().to_owned();
    while let Some(message) = socket.recv().await? {
        let Ok(Name { name }) = serde_json::from_slice(&message.into_data()) else {
            return Err(CloseWith::unsupported("send {\"name\": …}"));
        };
        let answer = Greeting { text: format!("{greeting}, {name}!"), room: room.clone() };
        socket.send(serde_json::to_string(&answer)?).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let Args { flags, greeting } = flags::parse_with_default_address("localhost:0");
    let page = format!("<p>{greeting}</p>");
    let server = Server::new(flags).page(page).subprotocols(["greeting.v1"]);
    report(server.serve_with(greeting.into(), greet).await)
}
