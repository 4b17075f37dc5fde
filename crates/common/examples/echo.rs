//! Echoes text and binary messages: what a conformance suite is pointed at.
//!
//! Run `cargo run -p common --example echo`; it takes the servers' flags.

use std::process::ExitCode;

use common::{Flags, Result, Server, Socket};
use futures_util::{SinkExt, StreamExt};

async fn echo(socket: &mut Socket) -> Result<()> {
    while let Some(message) = socket.next().await {
        socket.send(message?).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    common::log::init();
    let server = Server::new(Flags::parse_or("localhost:9001"));

    common::report(server.serve(|socket, _| Box::pin(echo(socket))).await)
}
