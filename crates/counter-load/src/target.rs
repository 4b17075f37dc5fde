//! Where the server is, and the opening handshake.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use common::text::printable;
use common::{Error, Result};
use tungstenite::handshake::derive_accept_key;
use tungstenite::http::Uri;

/// How long the server may take to accept the first connection.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A `ws://` URL in parts.
pub struct Target {
    /// As it was given.
    pub url: String,
    host: String,
    port: u16,
    path: String,
}

impl Target {
    /// Reads a URL.
    pub fn parse(url: &str) -> Result<Self> {
        if url.starts_with("wss://") {
            return Err("counter-load does not encrypt; give it the ws:// URL of the server".into());
        }
        let parts = || {
            let uri: Uri = url.strip_prefix("ws://").and(url.parse().ok())?;
            let port = match uri.authority()?.as_str().rsplit_once(':') {
                Some((_, port)) if !port.ends_with(']') => port.parse().ok()?,
                _ => 80,
            };
            let host = uri.host().filter(|host| !host.is_empty())?.to_owned();
            let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
            Some(Self { url: url.to_owned(), host, port, path })
        };
        let sentence = "is not a counter server's URL; give one like ws://localhost:6789";
        parts().ok_or_else(|| format!("{url:?} {sentence}").into())
    }

    /// Connects to the first of the host's addresses that answers.
    pub fn first_connection(&self) -> Result<(TcpStream, SocketAddr)> {
        let host = self.host.trim_matches(['[', ']']);
        let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
        for address in (host, self.port).to_socket_addrs().map_err(|error| self.explain(&error))? {
            match TcpStream::connect_timeout(&address, OPEN_TIMEOUT) {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => last = error,
            }
        }
        Err(self.explain(&last))
    }

    /// The request that opens a WebSocket.
    pub fn request(&self, key: &str) -> String {
        format!(
            "GET {} HTTP/1.1\r\nHost: {}:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n",
            self.path, self.host, self.port
        )
    }

    /// Checks the answer to it: all before the empty line, and what came after that.
    pub fn check_answer(&self, head: &[u8], body: &[u8], key: &str) -> Result<()> {
        let url = &self.url;
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let Some(status) = lines.next().unwrap_or_default().strip_prefix("HTTP/1.1 ") else {
            return Err(self.no_websocket("its answer is not HTTP/1.1"));
        };
        if !status.starts_with("101") {
            let body = String::from_utf8_lossy(body);
            let sentence = printable(body.lines().next().unwrap_or_default()).to_string();
            let status = printable(status).to_string();
            return Err(
                format!("{url} answered {status} instead of a WebSocket: {sentence}").into()
            );
        }
        let accept = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
            name.eq_ignore_ascii_case("sec-websocket-accept").then(|| value.trim())
        });
        match accept {
            Some(accept) if accept == derive_accept_key(key.as_bytes()) => Ok(()),
            _ => Err(self.no_websocket("its Sec-WebSocket-Accept is wrong")),
        }
    }

    /// A sentence for an answer that is no WebSocket's.
    pub fn no_websocket(&self, why: &str) -> Error {
        format!("{} does not speak WebSocket: {why}; is it the right port?", self.url).into()
    }

    /// A sentence for a server that is not of our protocol.
    pub fn no_counter(&self, why: &str) -> Error {
        let rule = "a counter server's first messages are users, then state";
        format!("{} is no counter server: {why}, but {rule}; is it the right port?", self.url)
            .into()
    }

    /// A sentence for a connection that cannot be opened.
    pub fn explain(&self, error: &io::Error) -> Error {
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
