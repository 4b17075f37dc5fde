//! WSS (WS over TLS) server example, with a self-signed certificate.
//!
//! Run `cargo run -p wss-server`, then `cargo run -p wss-client` in another terminal. The first
//! start makes `certs/localhost.pem`, the certificate that the client trusts. You will see the
//! same as with hello-server; what differs from it are the lines on TLS.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use common::server::flags::{self, Flags};
use common::text::say;
use common::{CloseWith, Result, Server, Socket, tls};
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

#[derive(Parser)]
struct TlsFlags {
    #[command(flatten)]
    flags: Flags,

    /// A PEM file with the certificate and its key
    /// [default: certs/localhost.pem, made if it is missing]
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
}

async fn run() -> Result<()> {
    let TlsFlags { flags, cert } = flags::parse_or("localhost:8765");
    let host = flags.host().to_owned();
    let server = Server::new(flags).page(PAGE);

    // Only our own certificate is ours to make.
    let pem = match cert {
        Some(pem) => pem,
        None => {
            let pem = tls::default_path();
            tls::ensure(&pem)?;
            pem
        }
    };
    let server = server.tls(tls::acceptor(&pem, &host)?);

    server.serve(|socket, _| Box::pin(hello(socket))).await
}

#[tokio::main]
async fn main() -> ExitCode {
    common::log::init();
    common::report(run().await)
}
