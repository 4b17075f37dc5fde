//! Which close code an error becomes, and a farewell that arrives.
//!
//! tungstenite reports what a peer did wrong, but tells the peer nothing: it would see a bare
//! end of the connection (code 1006). [`close`] sends the code, and then reads on, because a
//! TCP connection that is dropped with unread data is reset, and a reset may overtake the code.

use std::io;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::time::timeout;
use tracing::{debug, error, info, warn};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, error::Error as WsError};

use crate::{Error, Result, Socket};

/// How much a peer may send while we hang up on it, in bytes. An upload of this size that was
/// refused with 1009 still learns the reason.
const MAX_UNREAD: u64 = 16 << 20;

/// An error that a handler returns to choose the close code and the reason itself. The reason
/// must have 123 bytes or fewer (RFC 6455, section 5.5).
#[derive(Debug)]
pub struct CloseWith(pub CloseCode, pub &'static str);

impl std::fmt::Display for CloseWith {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.1)
    }
}

impl std::error::Error for CloseWith {}

impl CloseWith {
    /// 1003: a kind of message that the handler has no use for.
    pub fn unsupported(reason: &'static str) -> Error {
        Self(CloseCode::Unsupported, reason).into()
    }
}

/// Turns what a handler returned into the close frame to send, with one log line for a fault.
/// `None`: there is nobody left to tell.
pub(crate) fn frame_for(result: Result<()>) -> Option<CloseFrame> {
    let error = match result {
        Ok(()) => return Some(close_frame(CloseCode::Normal, "")),
        Err(error) => error,
    };
    if let Some(CloseWith(code, reason)) = error.downcast_ref() {
        info!("closed with {code}: {reason}");
        return Some(close_frame(*code, reason));
    }
    match error.downcast_ref() {
        // The keepalive's; the system's own has a number, and nobody is left to be told.
        Some(WsError::Io(io))
            if io.kind() == io::ErrorKind::TimedOut && io.raw_os_error().is_none() =>
        {
            info!("closed with 1011: {io}");
            Some(close_frame(CloseCode::Error, "keepalive ping timeout"))
        }
        // A browser tab that is closed, a phone that loses its network: an everyday event.
        Some(
            WsError::Io(_)
            | WsError::ConnectionClosed
            | WsError::AlreadyClosed
            | WsError::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake
                | tungstenite::error::ProtocolError::SendAfterClosing,
            ),
        ) => {
            debug!("gone: {error}");
            None
        }
        Some(WsError::Capacity(fault)) => {
            warn!("closed with 1009: {fault}");
            Some(close_frame(CloseCode::Size, "the message is larger than max_size"))
        }
        // What tungstenite says of it may quote the text.
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

/// For a handler that returned an error of its own, or panicked. What it was is for the log.
pub(crate) fn handler_failed() -> CloseFrame {
    close_frame(CloseCode::Error, "the server met an error")
}

pub(crate) fn close_frame(code: CloseCode, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: reason.into() }
}

/// Closes a connection: sends `frame`, waits for the peer's, and ends. A peer that never
/// answers is left after `close_timeout`, one that sends without end after 32 MiB.
pub async fn close(socket: &mut Socket, frame: CloseFrame, close_timeout: Duration) {
    socket.begin_farewell();
    let farewell = async {
        // A peer that closed first has its answer; a reset must not overtake that one either.
        if socket.closed().is_some() {
            socket.flush().await?;
            return hang_up(socket.get_mut()).await.map_err(WsError::Io);
        }
        socket.send(Message::Close(Some(frame))).await?;
        // What was on its way when we closed, up to the peer's own close frame.
        while let Some(Ok(_)) = socket.next().await {}
        // It is for the server to hang up then (RFC 6455, section 7.1.1). TLS has a close handshake
        // of its own (RFC 8446, section 6.1): without it the peer sees a truncated stream, or a
        // reset when it says its part of it to nobody.
        if socket.closed().is_some() && !socket.is_encrypted() {
            return Ok(());
        }
        // tungstenite reads no further after a fault; the stream below still can.
        hang_up(socket.get_mut()).await.map_err(WsError::Io)
    };
    match timeout(close_timeout, farewell).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!("gone during the farewell: {error}"),
        Err(_) => {
            debug!("no close frame within close_timeout");
            _ = socket.get_mut().shutdown().now_or_never();
        }
    }
}

/// Ends a connection so that what was written last arrives: says that no more will come, then
/// reads until the peer ends too, or has sent 16 MiB. The caller bounds the time.
///
/// # Errors
///
/// The connection's, when the peer resets it.
pub(crate) async fn hang_up<S>(stream: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.shutdown().await?;
    copy(&mut stream.take(MAX_UNREAD), &mut sink()).await.map(drop)
}
