//! One error message for each failure of a WebSocket, with the cause and a fix.

use std::io;

use tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tungstenite::handshake::client::Response;
use tungstenite::http::StatusCode;
use tungstenite::http::header::{CONTENT_TYPE, RETRY_AFTER};

use super::url::Target;
use crate::deflate::is_invalid_data;
use crate::socket::is_missed_pong;
use crate::{Error, Socket, printable};

/// The TCP connection failed.
pub(super) fn no_connection(target: &Target, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("cannot connect to {target}: connection refused; start the server first")
        }
        _ => format!("cannot connect to {target}: {error}; is it the right address?"),
    }
}

/// The server accepted the TCP connection, but sent no HTTP response.
pub(super) fn no_response(target: &Target, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::InvalidData => {
            format!(
                "{target} is not a WebSocket server: its answer is not HTTP; is it the right port?"
            )
        }
        _ if wants_certificate(&error.to_string()) => no_certificate(target),
        _ => format!(
            "{target} is not a WebSocket server: it closed the connection; is it the right port?"
        ),
    }
}

/// Whether the server requires a client certificate. In TLS 1.3 this alert arrives only after the
/// handshake, when the client reads.
pub(super) fn wants_certificate(error: &str) -> bool {
    error.contains("alert certificate required") || error.contains("alert bad certificate")
}

pub(super) fn no_certificate(target: &Target) -> String {
    format!("{target} requires a client certificate that it accepts; pass one with talk --cert")
}

/// The server answered, but not with 101. The message has the first line of a plain text body, but
/// not of an HTML page, because that line does not help.
pub(super) fn refused(target: &Target, response: &Response, body: &[u8]) -> String {
    /// A few lines of a terminal, in characters.
    const MAX_SHOWN: usize = 200;
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let wait = header(RETRY_AFTER).filter(|wait| wait.parse::<u32>().is_ok());
    let in_time = wait.map_or("try again later".into(), |wait| format!("try again in {wait} s"));
    let hint = match status {
        StatusCode::UNAUTHORIZED => "log in with ws://name:password@host, or with a header",
        StatusCode::FORBIDDEN => "it rejects this client or its origin; check its log",
        StatusCode::NOT_FOUND => "is it the right path?",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => &in_time,
        status if status.is_success() => "it is a web server; is it the right port and path?",
        status if status.is_redirection() => "the redirect has no address",
        status if status.is_server_error() => "the server failed; check its log",
        // For most other statuses, the response has the best hint.
        _ => "",
    };
    let is_plain = header(CONTENT_TYPE).is_none_or(|kind| kind.starts_with("text/plain"));
    let body = String::from_utf8_lossy(if is_plain { body } else { b"" });
    let text: String =
        body.lines().next().unwrap_or_default().trim().chars().take(MAX_SHOWN).collect();
    let (code, name) = (status.as_u16(), status.canonical_reason().unwrap_or("an unknown status"));
    let answered = format!("{target} answered {code} {name} instead of a WebSocket");
    match (hint, text.as_str()) {
        ("", "") => format!("{answered}; is it the right port and path?"),
        ("", text) => format!("{answered}: {}", printable(text)),
        (hint, "") => format!("{answered}; {hint}"),
        (hint, text) => format!("{answered}; {hint} (response: {})", printable(text)),
    }
}

/// The open WebSocket failed.
pub(super) fn broken(target: &Target, error: &WsError) -> String {
    match error {
        missed if is_missed_pong(missed) => format!(
            "{target} no longer answers (no pong within ping_timeout); check the server and the network"
        ),
        WsError::Io(io) if wants_certificate(&io.to_string()) => no_certificate(target),
        WsError::Io(io) if is_invalid_data(io) => format!(
            "{target} sent compressed data that does not inflate; the fault is the server's, or a \
             proxy's on the way"
        ),
        WsError::Io(io) if !hung_up(io) => {
            format!("the connection to {target} failed ({io}); is the server still running?")
        }
        WsError::Io(_)
        | WsError::ConnectionClosed
        | WsError::AlreadyClosed
        | WsError::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
        ) => format!("{target} closed the connection without a close frame; is it still running?"),
        WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => format!(
            "{target} sent a message of {size} bytes, but the limit is {max_size}; let it send \
             smaller messages"
        ),
        WsError::Utf8(_) => format!(
            "{target} sent text that is not UTF-8; the server must send such bytes as binary"
        ),
        error => format!(
            "{target} violated the WebSocket protocol ({error}); the fault is in the server or in \
             a proxy"
        ),
    }
}

/// The server closed the connection before the conversation was over.
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

/// Whether the server closed the TCP connection. TLS libraries show this only in their error text.
fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        || error.to_string().contains("unexpected eof")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_connection_is_one_error_message() {
        let target = Target::parse("wss://ada:secret@localhost/a").unwrap();
        let timed_out = io::Error::new(io::ErrorKind::TimedOut, "no pong within ping_timeout");
        for (error, says) in [
            (timed_out.into(), "wss://localhost/a no longer answers (no pong within ping_timeout)"),
            (
                io::Error::from_raw_os_error(110).into(),
                "the connection to wss://localhost/a failed (",
            ),
            (
                io::Error::other("SSL routines::tlsv13 alert certificate required").into(),
                "wss://localhost/a requires a client certificate",
            ),
            (
                io::Error::other("error:0A000126:SSL routines::unexpected eof while reading")
                    .into(),
                "wss://localhost/a closed the connection without a close frame",
            ),
            (
                io::Error::from(io::ErrorKind::ConnectionReset).into(),
                "wss://localhost/a closed the connection",
            ),
            (
                WsError::AlreadyClosed,
                "wss://localhost/a closed the connection without a close frame",
            ),
            (WsError::Utf8(String::new()), "wss://localhost/a sent text that is not UTF-8"),
            (WsError::AttackAttempt, "wss://localhost/a violated the WebSocket protocol"),
        ] {
            let error: WsError = error;
            let sentence = broken(&target, &error);
            assert!(sentence.starts_with(says), "{sentence}");
        }
    }
}
