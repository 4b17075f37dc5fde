//! A client's opening handshake.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::client_async_with_config;
use tokio_util::io::InspectReader;
use tungstenite::Error;
use tungstenite::handshake::client::{Request, Response};
use tungstenite::protocol::{Role, WebSocketConfig};

use super::{Keepalive, Pings};

impl<S: AsyncRead + AsyncWrite + Unpin> Keepalive<S> {
    /// What [`tokio_tungstenite::client_async_with_config`] does: asks the server at the other end
    /// of `stream` for a WebSocket.
    ///
    /// # Errors
    ///
    /// Those of tokio-tungstenite.
    pub async fn client_async(
        request: Request,
        stream: S,
        config: WebSocketConfig,
        pings: Pings,
    ) -> Result<(Self, Response), Error> {
        // tokio-tungstenite hands the stream out again, but not what it has read of it.
        let mut read = Vec::new();
        let stream = InspectReader::new(stream, |bytes| read.extend_from_slice(bytes));
        let (websocket, response) = client_async_with_config(request, stream, Some(config)).await?;
        let stream = websocket.into_inner().into_inner();
        // What came right behind the answer's head is a frame already.
        let head = read.windows(4).position(|end| end == b"\r\n\r\n");
        let behind = head.and_then(|head| read.get(head + 4..)).unwrap_or_default();
        Ok((Self::new(stream, behind, Role::Client, config, pings), response))
    }
}
