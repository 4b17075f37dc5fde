//! Echoes text and binary messages: the server for a conformance suite.
//!
//! Run `cargo run -p websockets --example echo`; it accepts the servers' flags.

use std::process::ExitCode;

use websockets::{Flags, Result, Server, Socket, log, report};

async fn echo(socket: &mut Socket) -> Result<()> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    log::init();
    let server = Server::new(Flags::parse_with_default_address("localhost:9001"));

    report(server.serve(echo).await)
}
