//! WS server example: reads a name, sends a greeting, and closes the connection.
//!
//! Run `cargo run -p hello-server`, then `cargo run -p hello-client` in another terminal, or open
//! http://localhost:8765/ in a browser. You will see the name (`<`) and the greeting (`>`).

use std::process::ExitCode;

use common::text::say;
use common::{CloseWith, Flags, Result, Server, Socket};
use futures_util::{SinkExt, StreamExt};
use tungstenite::Message;

const PAGE: &str = include_str!("../../../web/hello.html");

async fn hello(socket: &mut Socket) -> Result<()> {
    // The client may leave without a word.
    let Some(message) = socket.next().await.transpose()? else {
        return Ok(());
    };
    let Message::Text(name) = message else {
        return Err(CloseWith::unsupported("a name is text"));
    };
    say(&format!("< {name}"));

    let greeting = format!("Hello {name}!");

    // Fed, not sent: the greeting leaves together with the close frame that follows it.
    socket.feed(Message::text(&greeting)).await?;
    say(&format!("> {greeting}"));
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    common::log::init();
    let server = Server::new(Flags::parse_or("localhost:8765")).page(PAGE);

    common::report(server.serve(|socket, _| Box::pin(hello(socket))).await)
}
