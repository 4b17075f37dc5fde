//! Tests of talk through the real binary, in pipes and at a pseudo-terminal.
//!
//! | file | what it tests |
//! | --- | --- |
//! | `pipes` | lines in, lines out, and what the exit status says |
//! | `handshake` | headers, origin, subprotocols |
//! | `signals` | how it leaves |
//! | `reconnect` | a server that goes and comes back |
//! | `proxies` | real proxies, where they are installed |
//! | `tls` | feature `make-cert`: `wss://`, and what it trusts; without `tls`, what to build |
//! | `terminal` | prompt, editing, and lines that come meanwhile |
//! | `pty` | the pseudo-terminal and its screen |

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test, a panic is a failure"
)]

mod handshake;
mod pipes;
mod proxies;
#[cfg(unix)]
mod pty;
mod reconnect;
#[cfg(unix)]
mod signals;
#[cfg(unix)]
mod terminal;
mod tls;

use std::process::{Output, Stdio};

use testing::soon;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_tungstenite::{WebSocketStream, accept_async};

const EXE: &str = env!("CARGO_BIN_EXE_talk");

type Server = WebSocketStream<TcpStream>;

/// A listener and its URL.
async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// The server's side of the next connection.
async fn accept(listener: &TcpListener) -> Server {
    let (stream, _) = soon("a client", listener.accept()).await.unwrap();
    soon("a handshake", accept_async(stream)).await.unwrap()
}

/// Runs talk with this input to its end against a server that does `behave`.
async fn converse<T>(
    flags: &[&str],
    input: impl AsRef<[u8]>,
    behave: impl AsyncFnOnce(&mut Server) -> T,
) -> (Output, T) {
    let (listener, url) = listen().await;
    let arguments = [&[url.as_str()], flags].concat();
    let server = async {
        let mut socket = accept(&listener).await;
        behave(&mut socket).await
    };
    tokio::join!(testing::run(EXE, &arguments, input), server)
}

/// A talk whose input stays open.
fn start(arguments: &[&str]) -> Child {
    Command::new(EXE)
        .args(arguments)
        .env("NO_PROXY", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The exit status, stdout and stderr.
fn ended(output: &Output) -> (Option<i32>, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
