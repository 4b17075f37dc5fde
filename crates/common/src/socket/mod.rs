//! The socket that a handler and a client talk through.
//!
//! | file | what it is for |
//! | --- | --- |
//! | [`keepalive`] | pings, pongs and the close frame, so that handlers see only messages |
//! | `pings` | when to ping, and when to give up |
//! | `wakes` | whose wake it is: the connection's, or another of its task's |
//! | [`close`](mod@close) | which close code an error becomes, and a farewell that arrives |

pub mod close;
pub mod keepalive;
mod pings;
mod wakes;

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio_tungstenite::MaybeTlsStream;

pub use close::{CloseWith, close};
pub use keepalive::Keepalive;
pub use pings::Pings;

/// What a handler and a client talk through: the WebSocket that `connect_async` returns, on
/// either side, with its pings and pongs taken care of.
pub type Socket = Keepalive<MaybeTlsStream<TcpStream>>;

impl Socket {
    /// The address of the peer, for a log line.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        let stream = match self.get_ref() {
            MaybeTlsStream::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            MaybeTlsStream::NativeTls(stream) => stream.get_ref().get_ref().get_ref(),
            _ => return None,
        };
        stream.peer_addr().ok()
    }
}
