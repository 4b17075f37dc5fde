//! The address of the server, and the opening handshake.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use common::text::printable;
use common::{Error, Result};
use tungstenite::handshake::client::Response;
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse;
use tungstenite::http::{StatusCode, Uri};

/// The time limit for the server to accept the first connection.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest response to the opening handshake that a client accepts.
const MAX_RESPONSE: usize = 16 << 10;

/// A `ws://` URL in parts.
pub struct Target {
    /// The URL from the command line.
    pub url: String,
    host: String,
    port: u16,
    path: String,
}

impl Target {
    /// Reads a URL.
    pub fn parse(url: &str) -> Result<Self> {
        let uri = url.parse::<Uri>().ok();
        let scheme = uri.as_ref().and_then(|uri| uri.scheme_str()).map(str::to_lowercase);
        if scheme.as_deref() == Some("wss") {
            return Err("counter-load does not encrypt; give it the ws:// URL of the server".into());
        }
        // The library ignores a fragment and an invalid port, so we check both here.
        let parts = || {
            let uri = uri.filter(|_| scheme.as_deref() == Some("ws") && !url.contains('#'))?;
            let port = match uri.authority()?.as_str().rsplit_once(':') {
                Some((_, port)) if !port.ends_with(']') => port.parse().ok()?,
                _ => 80,
            };
            let host = uri.host().filter(|host| !host.is_empty())?.to_owned();
            let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
            Some(Self { url: url.to_owned(), host, port, path })
        };
        // The URL may contain a password, so the error message does not show it.
        if url.contains('@') {
            return Err("counter-load sends no login; give it the URL without one".into());
        }
        let hint = "is not a counter server's URL; give one like ws://localhost:6789";
        parts().ok_or_else(|| format!("{url:?} {hint}").into())
    }

    /// Connects to the first address of the host that accepts the connection.
    pub fn first_connection(&self) -> Result<(TcpStream, SocketAddr)> {
        let host = self.host.trim_matches(['[', ']']);
        let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
        for address in
            (host, self.port).to_socket_addrs().map_err(|error| self.connect_error(&error))?
        {
            match TcpStream::connect_timeout(&address, OPEN_TIMEOUT) {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => last = error,
            }
        }
        Err(self.connect_error(&last))
    }

    /// The request that opens a WebSocket.
    pub fn request(&self, key: &str) -> String {
        format!(
            "GET {} HTTP/1.1\r\nHost: {}:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n",
            self.path, self.host, self.port
        )
    }

    /// Checks the response to the request, and returns its length. Returns `None` if the response
    /// is not complete yet.
    pub fn check_response(&self, bytes: &[u8], key: &str) -> Result<Option<usize>> {
        let (length, response) = match Response::try_parse(bytes) {
            Ok(Some(complete)) => complete,
            Ok(None) if bytes.len() < MAX_RESPONSE => return Ok(None),
            _ => return Err(self.not_a_websocket_error("its answer is not HTTP/1.1")),
        };
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let body = String::from_utf8_lossy(bytes.get(length..).unwrap_or_default());
            // The first line of a chunked body is the length of its first chunk.
            let is_chunked = response.headers().contains_key("transfer-encoding");
            let first_line = body.lines().nth(is_chunked.into()).unwrap_or_default();
            let first_line: String = first_line.chars().take(200).collect();
            // Do not show an HTML page as the reason.
            let reason = match first_line.as_str() {
                "" => "; is it the right URL?".into(),
                page if page.starts_with('<') => "; is it the right URL?".into(),
                line => format!(": {}", printable(line)),
            };
            let url = &self.url;
            return Err(format!("{url} answered {status} instead of a WebSocket{reason}").into());
        }
        // RFC 6455, section 4.1.
        let has = |name, word: &str| {
            let values = response.headers().get_all(name).iter();
            let mut items = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
            items.any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
        };
        let accept = response.headers().get("sec-websocket-accept");
        let problem = if accept.is_none_or(|accept| *accept != derive_accept_key(key.as_bytes())) {
            "its Sec-WebSocket-Accept is wrong"
        } else if !has("upgrade", "websocket") || !has("connection", "upgrade") {
            "its Upgrade or Connection is wrong"
        } else if response.headers().contains_key("sec-websocket-extensions")
            || response.headers().contains_key("sec-websocket-protocol")
        {
            "it uses an extension or a subprotocol that was not requested"
        } else {
            return Ok(Some(length));
        };
        Err(self.not_a_websocket_error(problem))
    }

    /// The error for a response that does not open a WebSocket.
    pub fn not_a_websocket_error(&self, reason: &str) -> Error {
        format!("{} is not a WebSocket server: {reason}; is it the right port?", self.url).into()
    }

    /// The error for a server of another protocol.
    pub fn not_a_counter_error(&self, reason: &str) -> Error {
        let rule = "a counter server's first messages are users, then state";
        format!("{} is not a counter server: {reason}, but {rule}; is it the right port?", self.url)
            .into()
    }

    /// The error for a connection that cannot be opened.
    pub fn connect_error(&self, error: &io::Error) -> Error {
        let url = &self.url;
        match error.kind() {
            ErrorKind::ConnectionRefused => {
                format!("cannot connect to {url}: connection refused; start the server first")
            }
            ErrorKind::AddrNotAvailable => {
                format!("cannot connect to {url}: no free local port is left; use fewer --clients")
            }
            _ => format!("cannot connect to {url}: {error}; is it the right address?"),
        }
        .into()
    }
}
