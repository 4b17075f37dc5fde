//! The client's opening handshake.

use std::net::SocketAddr;

use tokio_tungstenite::client_async_with_config;
use tokio_util::io::InspectReader;
use tungstenite::Error;
use tungstenite::handshake::client::{Request, Response};
use tungstenite::protocol::Role;

use crate::socket::Stream;
use crate::{Options, Socket};

/// Asks the server at the other end of `stream` for a WebSocket. `server` is its address, if the
/// stream does not know it.
///
/// # Errors
///
/// Those of tokio-tungstenite.
pub(super) async fn handshake(
    request: Request,
    stream: Stream,
    server: Option<SocketAddr>,
    options: Options,
) -> Result<(Socket, Response), Error> {
    // tokio-tungstenite returns the stream, but not the bytes that it has read from it.
    let mut read = Vec::new();
    let stream = InspectReader::new(stream, |bytes| read.extend_from_slice(bytes));
    let (websocket, response) = client_async_with_config(request, stream, None).await?;
    let stream = websocket.into_inner().into_inner();
    // The bytes after the head of the response are frames already.
    let head = read.windows(4).position(|end| end == b"\r\n\r\n");
    let unread = head.and_then(|head| read.get(head + 4..)).unwrap_or_default();
    Ok((Socket::on(stream, unread, Role::Client, options, server), response))
}
