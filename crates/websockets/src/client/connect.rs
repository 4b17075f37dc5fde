//! Opens a WebSocket: the connection, TLS for `wss://`, the handshake, and the same again for each
//! redirect.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::either::Either;
use tungstenite::handshake::client::Response;
use tungstenite::http::header::{AUTHORIZATION, COOKIE, LOCATION, PROXY_AUTHORIZATION};
use tungstenite::http::{HeaderMap, HeaderName, StatusCode};
use tungstenite::protocol::Role;

use super::handshake::handshake;
use super::http::read_body;
use super::proxy::Proxy;
use super::url::Target;
use super::{dial, errors};
use crate::deflate::Compression;
use crate::socket::Stream;
use crate::{Options, Result, Socket};

/// How many requests one connect sends at most, as in Python `websockets`.
const MAX_REDIRECTS: usize = 10;

/// Headers that are not sent to another server after a redirect, as in Python `websockets`.
const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// How to connect, with the names and the defaults of Python `websockets`' `connect`.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Headers to add to the handshake, such as `Origin`, `Cookie` or `Sec-WebSocket-Protocol`.
    pub additional_headers: HeaderMap,
    /// The time for everything until the handshake is done, redirects, proxies and TLS included:
    /// 10 s.
    pub open_timeout: Duration,
    /// The pings, and the largest message.
    pub options: Options,
    /// Whether to offer compression to the server: [`Compression::None`]. Python's `websockets`
    /// offers it by default.
    pub compression: Compression,
    /// The TLS connector for `wss://`. Without it, a `wss://` URL is an error.
    #[cfg(feature = "tls")]
    pub tls: Option<tokio_native_tls::TlsConnector>,
}

impl Default for Connect {
    fn default() -> Self {
        Self {
            additional_headers: HeaderMap::new(),
            open_timeout: Duration::from_secs(10),
            options: Options::default(),
            compression: Compression::None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl Connect {
    /// Opens `url`. It follows ten redirects at most, none from `wss://` to `ws://`, and sends no
    /// credentials to another server.
    ///
    /// # Errors
    ///
    /// One sentence that says what to do.
    pub async fn open(&self, url: &str) -> Result<(Socket, Response)> {
        let target = Target::parse(url)?;
        let mut peer = String::new();
        // The future of a TLS connect is large, and it is needed once.
        match timeout(self.open_timeout, Box::pin(self.follow(target, &mut peer))).await {
            Ok(opened) => opened,
            Err(_) => Err(format!(
                "no answer from {peer} within {} s; is it the right address?",
                self.open_timeout.as_secs_f64()
            )
            .into()),
        }
    }

    /// `peer` is always the one whose answer is awaited: a proxy, or the server.
    async fn follow(&self, mut target: Target, peer: &mut String) -> Result<(Socket, Response)> {
        let first = target.clone();
        let mut headers = self.additional_headers.clone();
        for _ in 0..MAX_REDIRECTS {
            let (mut stream, server) = self.connect(&target, peer).await?;
            let (response, unread, deflate) =
                handshake(&target, &headers, self.compression, &mut stream).await?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                let socket =
                    Socket::on(stream, &unread, Role::Client, self.options, deflate, server);
                return Ok((socket, response));
            }
            let Some(location) = location(&response) else {
                let body = read_body(&mut stream, response.headers(), unread).await;
                return Err(errors::refused(&target, &response, &body).into());
            };
            let next = target.join(location)?;
            if target.secure() && !next.secure() {
                return Err(format!(
                    "{target} redirects to {next}, which is not encrypted; connect to it yourself if you trust it"
                )
                .into());
            }
            if !target.same_origin(&next) {
                for name in &CREDENTIALS {
                    headers.remove(name);
                }
            }
            target = next;
        }
        Err(format!(
            "{first} redirects more than {MAX_REDIRECTS} times; check the redirects of that server"
        )
        .into())
    }

    /// A stream to the target, and the address of its other end if the stream does not know it.
    async fn connect(
        &self,
        target: &Target,
        peer: &mut String,
    ) -> Result<(Stream, Option<SocketAddr>)> {
        #[cfg(feature = "tls")]
        if let Some(connector) = self.tls.as_ref().filter(|_| target.secure()) {
            let stream = reach(target, peer).await?;
            let server = crate::socket::peer_address(&stream);
            let encrypted = super::encrypt::encrypt(connector, target, stream).await?;
            return Ok((crate::socket::boxed(encrypted), server));
        }
        if target.secure() {
            return Err(format!("this client does not encrypt; use wss-client for {target}").into());
        }
        Ok((reach(target, peer).await?, None))
    }
}

/// A connection to the target, or to a proxy that leads there.
async fn reach(target: &Target, peer: &mut String) -> Result<Stream> {
    #[cfg(unix)]
    if let Some(path) = target.socket() {
        *peer = target.to_string();
        let stream = tokio::net::UnixStream::connect(path).await;
        return Ok(crate::socket::boxed(
            stream.map_err(|error| errors::no_connection(target, &error))?,
        ));
    }
    let proxy = Proxy::of(target);
    *peer = proxy.as_ref().map_or(target.to_string(), Proxy::name);
    let stream = match proxy {
        Some(proxy) => proxy.tunnel().await?,
        None => {
            let stream = dial::dial(target.host(), target.port()).await;
            stream.map_err(|error| errors::no_connection(target, &error))?
        }
    };
    *peer = target.to_string();
    Ok(Either::Left(stream))
}

/// The target of a redirect.
fn location(response: &Response) -> Option<&str> {
    match response.status().as_u16() {
        300..=303 | 307 | 308 => response.headers().get(LOCATION)?.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
