//! WSS (WS over TLS) client example, with a self-signed certificate.
//!
//! Run `cargo run -p wss-client` while `cargo run -p wss-server` runs in another terminal. You
//! will see the same as with hello-client; what differs from it are the lines on TLS.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::client::{connect_tls, input, recv};
use common::text::say;
use common::tls::{self, Trust};
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
    #[arg(default_value = "wss://localhost:8765")]
    url: String,

    /// Trust only the certificates in this PEM file [default: certs/localhost.pem]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Trust only the authorities that this system trusts
    #[arg(long, conflicts_with = "ca")]
    system_roots: bool,
}

async fn run() -> Result<()> {
    let Flags { url, ca, system_roots } = Flags::parse();

    // The server's certificate is self-signed: no authority vouches for it, so it is itself
    // what this client trusts.
    let trust = match system_roots {
        true => Trust::SystemRoots,
        false => Trust::File(ca.unwrap_or_else(tls::default_path)),
    };

    connect_tls(&url, tls::connector(trust)?, hello).await
}

#[tokio::main]
async fn main() -> ExitCode {
    common::report(run().await)
}
