//! WS client example: asks for a name, sends it, and prints the greeting.
//!
//! Run `cargo run -p hello-client` while `cargo run -p hello-server` runs in another terminal.
//! You will see your name (`>`) and the greeting (`<`).

use std::process::ExitCode;

use clap::Parser;
use common::client::{connect, input, recv};
use common::text::say;
use common::{Result, Socket};
use futures_util::SinkExt;
use tungstenite::Message;

async fn hello(socket: &mut Socket) -> Result<()> {
    let name = input("What's your name? ", socket).await?;

    socket.send(Message::text(&name)).await?;
    say(&format!("> {name}"));

    let greeting = recv(socket).await?;
    say(&format!("< {greeting}"));
    Ok(())
}

#[derive(Parser)]
struct Flags {
    /// The server to greet
    #[arg(default_value = "ws://localhost:8765")]
    url: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Flags { url } = Flags::parse();

    common::report(connect(&url, hello).await)
}
