//! What the demos share, so that each of them is a handler and little else.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`serve`](mod@serve) | listens, accepts, shuts down |
//! | `connection` | one connection's life: TLS, handshake, handler, close |
//! | [`handshake`] | what is answered to an HTTP request on the same port |
//! | `origin` | which pages may connect |
//! | [`keepalive`] | pings, pongs and the close frame, so that handlers see only messages |
//! | [`pings`] | when to ping, and when to give up |
//! | `wakes` | whose wake it is: the connection's, or another of its task's |
//! | [`close`] | which close code an error becomes, and a farewell that arrives |
//! | [`client`] | what the two clients need: connect, ask for a line |
//! | [`events`] | the JSON events of the counter |
//! | [`flags`] | the servers' command line |
//! | [`listen`] | every address that a host name has |
//! | [`text`] | a peer's text, made safe to print |
//! | [`log`] | log lines, and how many of them a second |
//! | `tls`, `certificate` | features `tls` and `make-cert`: load certificates, make one |
//!
//! Nothing here hides the library: a handler uses `tungstenite`'s `Message` and
//! `futures_util`'s `StreamExt` and `SinkExt` on a [`Socket`].

pub mod client;
pub mod close;
mod connection;
pub mod events;
pub mod flags;
pub mod handshake;
pub mod keepalive;
pub mod listen;
pub mod log;
mod origin;
pub mod pings;
pub mod serve;
pub mod text;
mod wakes;

#[cfg(feature = "tls")]
pub mod certificate;
#[cfg(feature = "tls")]
pub mod tls;

use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::net::TcpStream;
use tokio_tungstenite::MaybeTlsStream;

pub use serve::Server;

/// What a handler and a client talk through: the WebSocket that `connect_async` returns, on
/// either side, with its pings and pongs taken care of.
pub type Socket = keepalive::Keepalive<MaybeTlsStream<TcpStream>>;

/// The address of the peer, for a log line.
pub fn remote_address(socket: &Socket) -> Option<SocketAddr> {
    let stream = match socket.get_ref() {
        MaybeTlsStream::Plain(stream) => stream,
        #[cfg(feature = "tls")]
        MaybeTlsStream::NativeTls(stream) => stream.get_ref().get_ref().get_ref(),
        _ => return None,
    };
    stream.peer_addr().ok()
}

/// Any error. Its text is one lower-case sentence that says what to do next.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What a handler returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Ends `main`: an error is printed as one sentence on stderr, and the exit status is 1.
///
/// `main` could return a `Result` itself, but Rust would then print `Error: ` and the error's
/// `Debug` form, with a backtrace where `RUST_BACKTRACE` is set.
pub fn report(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
