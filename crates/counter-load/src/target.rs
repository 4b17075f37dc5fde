//! The address of the server, and the opening handshake.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use common::text::printable;
use common::{Error, Result};
use tungstenite::handshake::client::Response;
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse;
use tungstenite::http::StatusCode;
use url::{Position, Url};

/// The time limit for the server to accept the first connection.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest response to the opening handshake that a client accepts.
const MAX_RESPONSE: usize = 16 << 10;

/// A `ws://` URL.
pub struct Target {
    /// The URL as it is on the command line.
    text: String,
    url: Url,
}

impl Target {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self> {
        // The URL may contain a password, so the error message does not show it.
        if text.contains('@') {
            return Err("counter-load sends no login; give it the URL without one".into());
        }
        let text = text.to_owned();
        match Url::parse(&text) {
            Ok(url) if url.scheme() == "ws" && url.fragment().is_none() => Ok(Self { text, url }),
            Ok(url) if url.scheme() == "wss" => {
                Err("counter-load does not encrypt; give it the ws:// URL of the server".into())
            }
            _ => {
                let hint = "is not a counter server's URL; give one like ws://localhost:6789";
                Err(format!("{text:?} {hint}").into())
            }
        }
    }

    /// Connects to the first address of the host that accepts the connection.
    pub fn first_connection(&self) -> Result<(TcpStream, SocketAddr)> {
        let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
        let addresses = self.url.socket_addrs(|| None);
        for address in addresses.map_err(|error| self.connect_error(&error))? {
            match TcpStream::connect_timeout(&address, OPEN_TIMEOUT) {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => last = error,
            }
        }
        Err(self.connect_error(&last))
    }

    /// The request that opens a WebSocket.
    pub fn request(&self, key: &str) -> String {
        let host = &self.url[Position::BeforeHost..Position::BeforePath];
        format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n",
            &self.url[Position::BeforePath..]
        )
    }

    /// Checks the response to the request, and returns its length. Returns `None` if the response
    /// is not complete yet.
    pub fn check_response(&self, bytes: &[u8], key: &str) -> Result<Option<usize>> {
        let text = &self.text;
        let not_a_websocket = |reason: &str| {
            format!("{text} is not a WebSocket server: {reason}; is it the right port?").into()
        };
        let (length, response) = match Response::try_parse(bytes) {
            Ok(Some(complete)) => complete,
            Ok(None) if bytes.len() < MAX_RESPONSE => return Ok(None),
            _ => return Err(not_a_websocket("its answer is not HTTP/1.1")),
        };
        let (status, headers) = (response.status(), response.headers());
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let body = String::from_utf8_lossy(bytes.get(length..).unwrap_or_default());
            let is_chunked = headers.contains_key("transfer-encoding");
            // The first line of a chunked body is the length of its first chunk.
            let line = body.lines().nth(is_chunked.into()).unwrap_or_default();
            // Do not show an HTML page as the reason.
            let reason = match line.is_empty() || line.starts_with('<') {
                true => "; is it the right URL?".into(),
                false => format!(": {}", printable(&format!("{line:.200}"))),
            };
            return Err(format!("{text} answered {status} instead of a WebSocket{reason}").into());
        }
        // RFC 6455, section 4.1.
        let has = |name, word: &str| {
            let values = headers.get_all(name).iter();
            let mut items = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
            items.any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
        };
        if headers
            .get("sec-websocket-accept")
            .is_none_or(|accept| *accept != derive_accept_key(key.as_bytes()))
        {
            Err(not_a_websocket("its Sec-WebSocket-Accept is wrong"))
        } else if !has("upgrade", "websocket") || !has("connection", "upgrade") {
            Err(not_a_websocket("its Upgrade or Connection is wrong"))
        } else if ["sec-websocket-extensions", "sec-websocket-protocol"]
            .iter()
            .any(|name| headers.contains_key(*name))
        {
            Err(not_a_websocket("it uses an extension or a subprotocol that was not requested"))
        } else {
            Ok(Some(length))
        }
    }

    /// The error for a server of another protocol.
    pub fn not_a_counter_error(&self, reason: &str) -> Error {
        let rule = "a counter server's first messages are users, then state";
        let hint = "is it the right port?";
        format!("{} is not a counter server: {reason}, but {rule}; {hint}", self.text).into()
    }

    /// The error for a connection that cannot be opened.
    pub fn connect_error(&self, error: &io::Error) -> Error {
        let reason = match error.kind() {
            ErrorKind::ConnectionRefused => "connection refused; start the server first".into(),
            ErrorKind::AddrNotAvailable => "no free local port is left; use fewer --clients".into(),
            _ => format!("{error}; is it the right address?"),
        };
        format!("cannot connect to {}: {reason}", self.text).into()
    }
}
