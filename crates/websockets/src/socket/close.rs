//! Which close code an error becomes, and a closing handshake whose code arrives.
//!
//! tungstenite reports a peer's mistake to us, but not to the peer, which would see the connection
//! end without a close frame (code 1006). [`Socket::close`] sends the code and then reads on. A
//! TCP connection that is dropped with unread data is reset, and the reset may overtake the code.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::replace;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::task::waker_ref;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, empty, sink};
use tokio::time::timeout;
use tokio_util::either::Either;
use tracing::{debug, error, info, warn};
use tungstenite::error::{Error as WsError, ProtocolError};
use tungstenite::protocol::frame::Utf8Bytes;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role};

use super::pings::is_missed_pong;
use super::{Connection, Socket, Stream, boxed};
use crate::deflate::is_invalid_data;
use crate::{Error, Result};

/// How much a peer may send after we have shut the connection down, in bytes. An upload of this
/// size that is rejected with 1009 still learns the reason.
const MAX_UNREAD: u64 = 16 << 20;

/// How long a client waits for the close frame of the server, as in Python `websockets`.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client that has the server's close frame waits for the end of TCP. The server should end
/// it, but a proxy or a careless server may not.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest close reason, in bytes (RFC 6455, section 5.5).
const MAX_REASON: usize = 123;

/// An error that a handler returns to choose the close code and the reason.
///
/// ```
/// use websockets::{CloseCode, CloseWith, Result};
///
/// fn check(votes: u32) -> Result<()> {
///     if votes > 3 {
///         return Err(CloseWith::new(CloseCode::Policy, format!("{votes} votes are too many")).into());
///     }
///     Ok(())
/// }
/// ```
///
/// Its content is public, so that a test can compare it.
#[derive(Clone, Debug, PartialEq)]
pub struct CloseWith(pub CloseFrame);

impl CloseWith {
    /// Closes with `code` and `reason`. A reason that is longer than 123 bytes is cut, because a
    /// close frame holds no more (RFC 6455, section 5.5).
    pub fn new(code: CloseCode, reason: impl Into<Utf8Bytes>) -> Self {
        let mut reason = reason.into();
        if reason.len() > MAX_REASON {
            let end = reason.floor_char_boundary(MAX_REASON);
            reason = reason.get(..end).unwrap_or_default().into();
        }
        Self(CloseFrame { code, reason })
    }

    /// Closes with 1003: the handler has no use for this kind of message. Returns the error, ready to
    /// be returned.
    pub fn unsupported(reason: impl Into<Utf8Bytes>) -> Error {
        Self::new(CloseCode::Unsupported, reason).into()
    }
}

impl fmt::Display for CloseWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.reason)
    }
}

impl std::error::Error for CloseWith {}

/// Turns the result of a handler into the close frame to send, and logs a fault in one line.
/// `None` means that the peer has disconnected.
pub(crate) fn close_frame_for(result: Result<()>) -> Option<CloseFrame> {
    let Err(error) = result else { return Some(close_frame(CloseCode::Normal, "")) };
    if let Some(CloseWith(frame)) = error.downcast_ref() {
        info!("closed with {}: {}", frame.code, frame.reason);
        return Some(frame.clone());
    }
    match error.downcast_ref() {
        Some(missed) if is_missed_pong(missed) => {
            info!("closed with 1011: no pong within ping_timeout");
            Some(close_frame(CloseCode::Error, "keepalive ping timeout"))
        }
        Some(WsError::Io(fault)) if is_invalid_data(fault) => {
            warn!("closed with 1007: {fault}");
            Some(close_frame(CloseCode::Invalid, "the compressed data is invalid"))
        }
        // A browser tab that is closed, a phone that loses its network: an everyday event.
        Some(
            WsError::Io(_)
            | WsError::ConnectionClosed
            | WsError::AlreadyClosed
            | WsError::Protocol(
                ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
            ),
        ) => {
            debug!("disconnected: {error}");
            None
        }
        Some(WsError::Capacity(fault)) => {
            warn!("closed with 1009: {fault}; raise --max-size to accept it");
            Some(close_frame(CloseCode::Size, "the message is larger than max_size"))
        }
        // tungstenite's own description may quote the text.
        Some(WsError::Utf8(_)) => {
            warn!("closed with 1007: a text is not UTF-8");
            Some(close_frame(CloseCode::Invalid, "text must be UTF-8"))
        }
        Some(WsError::Protocol(fault)) => {
            warn!("closed with 1002: {fault}");
            Some(close_frame(CloseCode::Protocol, "the frame breaks RFC 6455"))
        }
        _ => {
            error!("closed with 1011: the handler failed: {error}");
            Some(handler_failed())
        }
    }
}

/// The close frame after a handler that returned an error of its own or panicked. The details are
/// only in the log.
pub(crate) fn handler_failed() -> CloseFrame {
    close_frame(CloseCode::Error, "internal server error")
}

pub(crate) fn close_frame(code: CloseCode, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: reason.into() }
}

impl Socket {
    /// Closes the connection: sends a close frame, waits for the peer's, and ends. A peer that does
    /// not answer is disconnected after 10 s, a server that answers but does not end TCP after 1 s,
    /// and a peer that goes on sending after 32 MiB.
    ///
    /// A handler does not need this, because the server closes the connection when the handler
    /// returns. A client needs it: if a socket is dropped, the peer sees a lost connection.
    pub async fn close(&mut self, code: CloseCode, reason: impl Into<Utf8Bytes>) {
        let frame = CloseFrame { code, reason: reason.into() };
        self.connection.close(frame, CLOSE_TIMEOUT).await;
    }
}

impl Connection {
    /// [`Socket::close`], also while a handler has the socket. From now on, the handler receives
    /// nothing more and sends nothing more.
    pub(crate) async fn close(&self, frame: CloseFrame, close_timeout: Duration) {
        let peer_closed_first = self.closed().is_some();
        let is_client = self.keepalive.lock().websocket.role == Role::Client;
        let limit = |is_closed| if is_client && is_closed { END_TIMEOUT } else { close_timeout };
        let handshake = async {
            let CloseWith(frame) = CloseWith::new(frame.code, frame.reason);
            self.start_closing(Some(frame));
            // Even if this fails, the peer's close frame may have arrived.
            _ = poll_fn(|cx| self.poll_written(cx)).await;
            // Messages that were on their way, up to the peer's own close frame.
            while let Some(Ok(())) = self.drain().await {}
            let mut stream = self.take_stream();
            // If the peer answered, TCP ends now (RFC 6455, section 7.1.1). TLS has a closing
            // handshake of its own (RFC 8446, section 6.1). Without it the peer sees a truncated
            // stream, or a reset when it sends its own part.
            let is_tcp = matches!(stream, Either::Left(_));
            if self.closed().is_some() && !peer_closed_first && is_tcp {
                return Ok(());
            }
            // A reset must not overtake our answer or our code. tungstenite reads no further after
            // a fault, so the rest is read from the stream.
            let end = shutdown_and_drain(&mut stream);
            timeout(limit(self.closed().is_some()), end).await.unwrap_or(Ok(()))
        };
        match timeout(limit(peer_closed_first), handshake).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!("disconnected during the closing handshake: {error}"),
            Err(_) => {
                debug!("the peer did not end the connection within close_timeout");
                _ = self.take_stream().shutdown().now_or_never();
            }
        }
    }

    /// Reads one message and discards it. `None` after the closing handshake.
    async fn drain(&self) -> Option<std::result::Result<(), WsError>> {
        let message = poll_fn(|cx| {
            self.waker.reader.register(cx.waker());
            let waker = waker_ref(&self.waker);
            self.keepalive.lock().poll_read(&mut std::task::Context::from_waker(&waker))
        });
        Some(message.await?.map(drop))
    }

    /// Takes the stream out, so that it can be read without tungstenite.
    fn take_stream(&self) -> Stream {
        replace(&mut self.keepalive.lock().websocket.stream, boxed(empty()))
    }
}

/// Ends a connection in a way that lets the last written bytes arrive: announces that no more will
/// follow, then reads until the peer ends the connection too, or has sent 16 MiB. The caller
/// limits the time.
///
/// # Errors
///
/// The peer reset the connection.
pub(crate) async fn shutdown_and_drain(stream: &mut Stream) -> io::Result<()> {
    stream.shutdown().await?;
    copy(&mut stream.take(MAX_UNREAD), &mut sink()).await.map(drop)
}
