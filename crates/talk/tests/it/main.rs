//! Tests of talk through the real binary, in pipes and at a pseudo-terminal.
//!
//! | file | tests |
//! | --- | --- |
//! | `pipes` | lines in, lines out, and the exit status |
//! | `handshake` | headers, origin, subprotocols |
//! | `response` | which responses to the handshake are accepted |
//! | `signals` | signals close the connection |
//! | `reconnect` | talk connects again when the server is back |
//! | `proxies` | real proxies, where they are installed |
//! | `tls` | with the feature `make-cert`, the certificates for `wss://`; without `tls`, the hint to build with it |
//! | `terminal` | the prompt, editing, and messages that arrive while the user types |
//! | `pty` | the pseudo-terminal and its screen |

mod handshake;
mod pipes;
mod proxies;
#[cfg(unix)]
mod pty;
mod reconnect;
mod response;
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

/// Runs talk with this input until it ends. The server runs `behave` on its connection.
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

/// Starts talk. Its input stays open.
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
