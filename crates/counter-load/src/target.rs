//! Where the server is, and the opening handshake.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use common::text::printable;
use common::{Error, Result};
use tungstenite::handshake::client::Response;
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse;
use tungstenite::http::{StatusCode, Uri};

/// How long the server may take to accept the first connection.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer to the opening handshake that is taken.
const MAX_HEAD: usize = 16 << 10;

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
        let uri = url.parse::<Uri>().ok();
        let scheme = uri.as_ref().and_then(|uri| uri.scheme_str()).map(str::to_lowercase);
        if scheme.as_deref() == Some("wss") {
            return Err("counter-load does not encrypt; give it the ws:// URL of the server".into());
        }
        // The library drops a fragment, and takes a port that is no port for none.
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
        // Not printed, because it may have a password in it.
        if url.contains('@') {
            return Err("counter-load sends no login; give it the URL without one".into());
        }
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

    /// Checks the answer to it, and returns how long it is; `None` if it has not all come yet.
    pub fn check_answer(&self, bytes: &[u8], key: &str) -> Result<Option<usize>> {
        let (length, answer) = match Response::try_parse(bytes) {
            Ok(Some(whole)) => whole,
            Ok(None) if bytes.len() < MAX_HEAD => return Ok(None),
            _ => return Err(self.no_websocket("its answer is not HTTP/1.1")),
        };
        let status = answer.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let body = String::from_utf8_lossy(bytes.get(length..).unwrap_or_default());
            let why: String = body.lines().next().unwrap_or_default().chars().take(200).collect();
            // Neither a page nor the length of a chunk is a sentence.
            let sentence = match answer.headers().contains_key("transfer-encoding") {
                false if !why.is_empty() && !why.starts_with('<') => {
                    format!(": {}", printable(&why))
                }
                _ => "; is it the right URL?".into(),
            };
            let url = &self.url;
            return Err(format!("{url} answered {status} instead of a WebSocket{sentence}").into());
        }
        match answer.headers().get("sec-websocket-accept") {
            Some(accept) if *accept == derive_accept_key(key.as_bytes()) => Ok(Some(length)),
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
