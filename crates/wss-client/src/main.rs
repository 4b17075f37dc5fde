//! WSS (WS over TLS) client example, with a self-signed certificate.
//!
//! Run `cargo run -p wss-client` while `cargo run -p wss-server` runs in another terminal. You
//! will see the same as with hello-client. Only the lines on TLS differ from it.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::tls::{self, Trust};
use websockets::client::{connect_tls, input, recv_text};
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
    #[arg(default_value = "wss://localhost:8765")]
    url: String,

    /// Trust only the certificates in this PEM file [default: certs/localhost.pem]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Trust only the certificate authorities of this system
    #[arg(long, conflicts_with = "ca")]
    system_roots: bool,
}

async fn run() -> Result<()> {
    let Flags { url, ca, system_roots } = Flags::parse();
    // No authority has signed the server's certificate, so the client trusts the certificate itself.
    let trust = match system_roots {
        true => Trust::SystemRoots,
        false => Trust::File(ca.unwrap_or_else(tls::default_path)),
    };

    connect_tls(&url, tls::connector(trust)?, hello).await
}

#[tokio::main]
async fn main() -> ExitCode {
    report(run().await)
}
