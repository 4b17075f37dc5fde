//! The one stream type below every [`Socket`](super::Socket).

use std::fmt::Debug;

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
