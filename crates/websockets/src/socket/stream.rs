//! The one stream type below every [`Socket`](super::Socket).

use std::fmt::Debug;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::either::Either;

/// Any stream of bytes: TLS, memory, an upgraded HTTP connection, a Unix socket.
pub trait Io: AsyncRead + AsyncWrite + Debug + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin + 'static> Io for S {}

/// A TCP connection, or a boxed stream of another kind. Nearly all connections are TCP, so only
/// the others pay for the box.
pub(crate) type Stream = Either<TcpStream, Box<dyn Io>>;

/// A stream that is not plain TCP.
pub(crate) fn boxed(stream: impl Io) -> Stream {
    Either::Right(Box::new(stream))
}

/// The address of the other end of a TCP connection.
pub(crate) fn peer_address(stream: &Stream) -> Option<SocketAddr> {
    match stream {
        Either::Left(tcp) => tcp.peer_addr().ok(),
        Either::Right(_) => None,
    }
}

/// Lets the kernel take no more than 64 KiB beyond what the peer can take now. By default it takes
/// up to 4 MiB. A ping would wait behind them, so a peer that reads slowly would miss the time for
/// its pong. A listener passes this on to the connections that it accepts.
#[cfg(target_os = "linux")]
pub(crate) fn limit_unsent(socket: &impl std::os::fd::AsFd) {
    // Without it, only a slow peer is worse off.
    _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(64 << 10);
}

/// The crate offers this for Linux only.
#[cfg(not(target_os = "linux"))]
pub(crate) fn limit_unsent<T>(_socket: &T) {}
