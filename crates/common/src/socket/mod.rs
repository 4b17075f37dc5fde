//! The socket that a handler and a client talk through.
//!
//! | file | what it is for |
//! | --- | --- |
//! | [`keepalive`] | pings, pongs and the close frame, so that handlers see only messages |
//! | `alive` | what is read past, what is answered, and when a peer is given up |
//! | `pings` | when to ping, and when to give up |
//! | `wakes` | whose wake it is: the connection's, or another of its task's |
//! | `websocket` | tungstenite on an asynchronous stream |
//! | `wire` | that stream, as tungstenite knows streams |
//! | `incoming` | what a peer sends, in small pieces |
//! | `opening` | a client's opening handshake |
//! | [`close`](mod@close) | which close code an error becomes, and a farewell that arrives |

mod alive;
pub mod close;
mod incoming;
pub mod keepalive;
mod opening;
mod pings;
mod wakes;
mod websocket;
mod wire;

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio_tungstenite::MaybeTlsStream;

pub use close::{CloseWith, close};
pub use keepalive::Keepalive;
pub use pings::Pings;

/// What a handler and a client talk through: a WebSocket on the stream that `connect_async` makes,
/// on either side, with its pings and pongs taken care of.
pub type Socket = Keepalive<MaybeTlsStream<TcpStream>>;

impl Socket {
    /// Whether the connection is TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        !matches!(self.get_ref(), MaybeTlsStream::Plain(_))
    }

    /// The address of the other end, for a log line; of a client behind a trusted proxy, its own.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        if let Some(client) = &self.client {
            return Some(**client);
        }
        let stream = match self.get_ref() {
            MaybeTlsStream::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            MaybeTlsStream::NativeTls(stream) => stream.get_ref().get_ref().get_ref(),
            _ => return None,
        };
        stream.peer_addr().ok()
    }
}
