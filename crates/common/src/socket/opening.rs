//! A client's opening handshake.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::client_async_with_config;
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
        let recorder = Recorder { stream, read: Vec::new() };
        let (websocket, response) =
            client_async_with_config(request, recorder, Some(config)).await?;
        let Recorder { stream, read } = websocket.into_inner();
        // What came right behind the answer's head is a frame already.
        let head = read.windows(4).position(|end| end == b"\r\n\r\n");
        let behind = head.and_then(|head| read.get(head + 4..)).unwrap_or_default();
        Ok((Self::new(stream, behind, Role::Client, config, pings), response))
    }
}

/// A stream that remembers what was read from it: tokio-tungstenite hands out the stream, but not
/// what it has read of it.
#[derive(Debug)]
struct Recorder<S> {
    stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Recorder<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.read.extend(buf.filled().iter().skip(before));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Recorder<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
