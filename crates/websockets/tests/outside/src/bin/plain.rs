//! The smallest program: no command line, no page, no log.

use websockets::{Flags, Result, Server, Socket};

async fn hello(socket: &mut Socket) -> Result<()> {
    socket.send("hello").await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let flags = Flags { address: "localhost:0".into(), ..Flags::default() };
    Server::new(flags).serve(hello).await
}
