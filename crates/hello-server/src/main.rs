//! WS server example: receives a name, sends a greeting, and closes the connection.
//!
//! Run `cargo run -p hello-server`, then `cargo run -p hello-client` in another terminal, or open
//! http://localhost:8765/ in a browser. You will see the name (`<`) and the greeting (`>`).

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::ExitCode;

use websockets::{CloseWith, Flags, Message, Result, Server, Socket, log, print_line, report};

const PAGE: &str = include_str!("../../../web/hello.html");

async fn hello(socket: &mut Socket) -> Result<()> {
    // The client may disconnect first.
    let Some(message) = socket.recv().await? else {
        return Ok(());
    };
    let Message::Text(name) = message else {
        return Err(CloseWith::unsupported("a name must be text"));
    };
    print_line(&format!("< {name}"));

    let greeting = format!("Hello {name}!");

    socket.send(&*greeting).await?;
    print_line(&format!("> {greeting}"));
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    log::init();
    let flags = Flags::parse_with_default_address("localhost:8765");

    report(Server::new(flags).page(PAGE).serve(hello).await)
}
