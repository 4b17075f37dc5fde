//! Echoes the messages of a server. This is the client for a conformance suite, which has a URL for
//! each case.
//!
//! Run `cargo run -p websockets --features client --example echo-client URL`.

use std::process::ExitCode;

use websockets::client::{Connect, leave};
use websockets::{Compression, Options, Result, Socket, log, report};

async fn echo(socket: &mut Socket) -> Result<()> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

async fn run(server: &str) -> Result<()> {
    let options = Options { max_size: 16 << 20, ..Options::default() };
    let connect = Connect { options, compression: Compression::Deflate, ..Connect::default() };
    let (mut socket, _) = connect.open(&format!("{server}/getCaseCount")).await?;
    let count: u32 = socket.recv().await?.ok_or("the suite sent no number")?.to_text()?.parse()?;
    for case in 1..=count {
        let url = format!("{server}/runCase?case={case}&agent=echo-client");
        let (mut socket, _) = connect.open(&url).await?;
        let result = echo(&mut socket).await;
        // A case may end with any fault.
        _ = leave(&mut socket, &url, result).await;
    }
    connect.open(&format!("{server}/updateReports?agent=echo-client")).await?.0.recv().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    log::init();
    let server = std::env::args().nth(1).unwrap_or_else(|| "ws://localhost:9001".to_owned());
    report(run(&server).await)
}
