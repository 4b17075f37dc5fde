//! The least that a program can be: no command line, no page, no log.

use std::process::ExitCode;

use common::futures_util::SinkExt;
use common::tungstenite::Message;
use common::{Flags, Result, Server, Socket};

async fn hello(socket: &mut Socket) -> Result<()> {
    socket.send(Message::text("hello")).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let flags = Flags { address: "localhost:0".into(), ..Flags::default() };
    common::report(Server::new(flags).serve(|socket, _| Box::pin(hello(socket))).await)
}
