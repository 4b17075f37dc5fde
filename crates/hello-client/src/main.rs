//! WS client example: asks for a name, sends it, and prints the greeting.
//!
//! Run `cargo run -p hello-client` while `cargo run -p hello-server` runs in another terminal.
//! You will see your name (`>`) and the greeting (`<`).

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::ExitCode;

use clap::Parser;
use websockets::client::{connect, input, recv_text};
use websockets::{Result, Socket, print_line, report};

async fn hello(socket: &mut Socket) -> Result<()> {
    let name = input("What's your name? ", socket).await?;

    socket.send(&*name).await?;
    print_line(&format!("> {name}"));

    let greeting = recv_text(socket).await?;
    print_line(&format!("< {greeting}"));
    Ok(())
}

#[derive(Parser)]
struct Flags {
    /// The server that sends the greeting
    #[arg(default_value = "ws://localhost:8765")]
    url: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    report(connect(&Flags::parse().url, hello).await)
}
