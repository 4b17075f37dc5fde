//! WSS (WS over TLS) server example, with a self-signed certificate.
//!
//! Run `cargo run -p wss-server`, then `cargo run -p wss-client` in another terminal. The first
//! start makes `certs/localhost.pem`, the certificate that the client trusts. You will see the
//! same as with hello-server. Only the lines on TLS differ from it.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::tls;
use websockets::{CloseWith, Flags, Message, Result, Server, Socket};
use websockets::{flags, log, print_line, report};

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

#[derive(Parser)]
struct TlsFlags {
    #[command(flatten)]
    flags: Flags,

    /// A PEM file with the certificate and its key
    /// [default: certs/localhost.pem, made if it is missing]
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// A PEM file with the key, if it is not in the file of --cert
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

async fn run() -> Result<()> {
    let TlsFlags { flags, cert, key } = flags::parse_with_default_address("localhost:8765");
    let cert = cert.map_or_else(tls::ensure_default, Ok)?;
    let acceptors = tls::renewed_acceptor(cert, key, flags.host())?;

    Server::new(flags).page(PAGE).renewed_tls(acceptors).serve(hello).await
}

#[tokio::main]
async fn main() -> ExitCode {
    log::init();
    report(run().await)
}
