//! One sentence for each failure of a WebSocket: what happened, and what to do.

use std::io;

use tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tungstenite::handshake::client::Response;
use tungstenite::http::StatusCode;
use tungstenite::http::header::{CONTENT_TYPE, RETRY_AFTER};

use super::url::Target;
use crate::deflate::is_invalid_data;
use crate::socket::is_missed_pong;
use crate::{Error, Socket, printable};

/// There is no connection.
pub(super) fn no_connection(target: &Target, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("cannot connect to {target}: connection refused; start the server first")
        }
        _ => format!("cannot connect to {target}: {error}; is it the right address?"),
    }
}

/// There is a connection, but no response.
pub(super) fn no_response(target: &Target, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::InvalidData => {
            format!("{target} does not speak WebSocket, nor HTTP; is it the right port?")
        }
        _ if wants_certificate(&error.to_string()) => no_certificate(target),
        _ => format!("{target} does not speak WebSocket: it hung up; is it the right port?"),
    }
}

/// Whether the server wants a certificate of us. In TLS 1.3 it says so after the handshake, when we
/// read.
pub(super) fn wants_certificate(error: &str) -> bool {
    error.contains("alert certificate required") || error.contains("alert bad certificate")
}

pub(super) fn no_certificate(target: &Target) -> String {
    format!("{target} wants a certificate of its clients, and this one has none; it serves others")
}

/// The server answered, but not with 101. Its own words are shown when they are plain text: the
/// first line of a page says nothing.
pub(super) fn refused(target: &Target, response: &Response, body: &[u8]) -> String {
    /// As much as fits into a few lines of a terminal, in characters.
    const SAID: usize = 200;
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let wait = header(RETRY_AFTER).filter(|wait| wait.parse::<u32>().is_ok());
    let in_time = wait.map_or("try again later".into(), |wait| format!("try again in {wait} s"));
    let remedy = match status {
        StatusCode::UNAUTHORIZED => "log in as in ws://name:password@host, or by a header",
        StatusCode::FORBIDDEN => "it refuses this client or its origin; its log may say why",
        StatusCode::NOT_FOUND => "is it the right path?",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => &in_time,
        status if status.is_success() => "it is a web server; is it the right port and path?",
        status if status.is_redirection() => "it does not say where to go on",
        status if status.is_server_error() => "the fault is the server's; its log may say why",
        // Of most others the server knows best.
        _ => "",
    };
    let is_plain = header(CONTENT_TYPE).is_none_or(|kind| kind.starts_with("text/plain"));
    let body = String::from_utf8_lossy(if is_plain { body } else { b"" });
    let said: String = body.lines().next().unwrap_or_default().trim().chars().take(SAID).collect();
    let (code, name) = (status.as_u16(), status.canonical_reason().unwrap_or("an unknown status"));
    let answered = format!("{target} answered {code} {name} instead of a WebSocket");
    match (remedy, said.as_str()) {
        ("", "") => format!("{answered}; is it the right port and path?"),
        ("", said) => format!("{answered}: {}", printable(said)),
        (remedy, "") => format!("{answered}; {remedy}"),
        (remedy, said) => format!("{answered}; {remedy} (it says: {})", printable(said)),
    }
}

/// The WebSocket was open, and broke.
pub(super) fn broken(target: &Target, error: &WsError) -> String {
    match error {
        missed if is_missed_pong(missed) => format!(
            "{target} no longer answers (no pong within ping_timeout); is it, or the network, down?"
        ),
        WsError::Io(io) if wants_certificate(&io.to_string()) => no_certificate(target),
        WsError::Io(io) if is_invalid_data(io) => format!(
            "{target} sent compressed data that does not inflate; the fault is the server's, or a \
             proxy's on the way"
        ),
        WsError::Io(io) if !hung_up(io) => {
            format!("the connection to {target} broke ({io}); is it still running?")
        }
        WsError::Io(_)
        | WsError::ConnectionClosed
        | WsError::AlreadyClosed
        | WsError::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
        ) => format!("{target} ended the connection without closing it; is it still running?"),
        WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => format!(
            "{target} sent a message of {size} bytes, and {max_size} is the most that is taken; \
             have it send less at once"
        ),
        WsError::Utf8(_) => format!(
            "{target} sent text that is not UTF-8; the fault is the server's, which must send \
             such bytes as binary"
        ),
        error => format!(
            "{target} broke the rules of WebSockets ({error}); the fault is the server's, or a \
             proxy's on the way"
        ),
    }
}

/// The server closed, and the conversation was not over.
pub(super) fn closed_early(socket: &Socket) -> Error {
    match socket.closed() {
        Some(Some(frame)) => format!(
            "the server closed the connection too early: {} {}",
            u16::from(frame.code),
            printable(&frame.reason)
        ),
        _ => "the server closed the connection too early".into(),
    }
    .into()
}

/// A server that is gone. TLS libraries tell it by their words alone.
fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        || error.to_string().contains("unexpected eof")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_library_says_of_a_broken_connection_is_a_sentence() {
        let target = Target::parse("wss://ada:secret@localhost/a").unwrap();
        let timed_out = io::Error::new(io::ErrorKind::TimedOut, "no pong within ping_timeout");
        for (error, says) in [
            (timed_out.into(), "wss://localhost/a no longer answers (no pong within ping_timeout)"),
            (
                io::Error::from_raw_os_error(110).into(),
                "the connection to wss://localhost/a broke (",
            ),
            (
                io::Error::other("SSL routines::tlsv13 alert certificate required").into(),
                "wss://localhost/a wants a certificate of its clients",
            ),
            (
                io::Error::other("error:0A000126:SSL routines::unexpected eof while reading")
                    .into(),
                "wss://localhost/a ended the connection without closing it",
            ),
            (
                io::Error::from(io::ErrorKind::ConnectionReset).into(),
                "wss://localhost/a ended the connection",
            ),
            (WsError::AlreadyClosed, "wss://localhost/a ended the connection without closing it"),
            (WsError::Utf8(String::new()), "wss://localhost/a sent text that is not UTF-8"),
            (WsError::AttackAttempt, "wss://localhost/a broke the rules of WebSockets"),
        ] {
            let error: WsError = error;
            let sentence = broken(&target, &error);
            assert!(sentence.starts_with(says), "{sentence}");
        }
    }
}
