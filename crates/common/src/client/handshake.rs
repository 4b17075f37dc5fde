//! Opens a WebSocket: the connection, TLS where the URL asks for it, the handshake, and the same
//! once more for each redirect.

use std::time::Duration;

use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, LOCATION, PROXY_AUTHORIZATION};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::MaybeTlsStream;
use tungstenite::client::IntoClientRequest;
use tungstenite::error::Error as WsError;
use tungstenite::handshake::client::{Request, Response};
use tungstenite::protocol::WebSocketConfig;

use super::url::Target;
use super::{dial, errors, proxy};
use crate::socket::Pings;
use crate::{Result, Socket};

/// How many times one connect asks: Python `websockets`' limit.
const MAX_REDIRECTS: usize = 10;

/// What a redirect to another server must not be told, as in Python `websockets`.
const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// How to connect. Names and defaults are those of Python `websockets`' `connect`.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Headers of the handshake besides its own: `Origin`, `Cookie`, `Sec-WebSocket-Protocol`, or
    /// any other.
    pub additional_headers: HeaderMap,
    /// How long it may take to open, redirects, proxies, TLS and the handshake included: 10 s.
    pub open_timeout: Duration,
    /// When to ping, and when to give up.
    pub pings: Pings,
    /// The longest message to take, in bytes: 1 MiB.
    pub max_size: usize,
    /// What `wss://` trusts; without it `wss://` is refused.
    #[cfg(feature = "tls")]
    pub tls: Option<tokio_native_tls::TlsConnector>,
}

impl Default for Connect {
    fn default() -> Self {
        Self {
            additional_headers: HeaderMap::new(),
            open_timeout: Duration::from_secs(10),
            pings: Pings::default(),
            max_size: 1 << 20,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl Connect {
    /// Opens `url`. Redirects are followed: ten at most, never from `wss://` to `ws://`, and to
    /// another server without the credentials.
    ///
    /// # Errors
    ///
    /// A sentence that says what to do.
    pub async fn open(&self, url: &str) -> Result<(Socket, Response)> {
        let target = Target::parse(url)?;
        // The future of a TLS connect is large; it is needed once.
        match timeout(self.open_timeout, Box::pin(self.follow(target.clone()))).await {
            Ok(opened) => opened,
            Err(_) => Err(format!(
                "no answer from {target} within {} s; is it the right address?",
                self.open_timeout.as_secs_f64()
            )
            .into()),
        }
    }

    async fn follow(&self, mut target: Target) -> Result<(Socket, Response)> {
        let first = target.clone();
        let mut headers = self.additional_headers.clone();
        let config = WebSocketConfig::default()
            .max_message_size(Some(self.max_size))
            .max_frame_size(Some(self.max_size));
        for _ in 0..MAX_REDIRECTS {
            let request = request(&target, &headers)?;
            let stream = self.connect(&target).await?;
            let error = match Socket::client_async(request, stream, config, self.pings).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            let Some(location) = location(&error) else {
                return Err(errors::no_handshake(&target, &error).into());
            };
            let next = target.join(location)?;
            if target.secure() && !next.secure() {
                return Err(format!(
                    "{target} redirects to {next}, which is not encrypted; it is not followed"
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
        Err(format!("{first} redirects more than {MAX_REDIRECTS} times; it may never end").into())
    }

    async fn connect(&self, target: &Target) -> Result<MaybeTlsStream<TcpStream>> {
        #[cfg(feature = "tls")]
        if let Some(connector) = self.tls.as_ref().filter(|_| target.secure()) {
            let encrypted = super::encrypt::encrypt(connector, target, reach(target).await?);
            return Ok(MaybeTlsStream::NativeTls(encrypted.await?));
        }
        if target.secure() {
            return Err(format!("this client does not encrypt; use wss-client for {target}").into());
        }
        Ok(MaybeTlsStream::Plain(reach(target).await?))
    }
}

/// A connection to the target, or to a proxy that leads there.
async fn reach(target: &Target) -> Result<TcpStream> {
    match proxy::of(target) {
        Some(proxy) => proxy::tunnel(target, &proxy).await,
        None => {
            let stream = dial::dial(target.host(), target.port()).await;
            Ok(stream.map_err(|error| errors::no_connection(target, &error))?)
        }
    }
}

/// Where the server's answer says to go on.
fn location(error: &WsError) -> Option<&str> {
    match error {
        WsError::Http(response) if matches!(response.status().as_u16(), 300..=303 | 307 | 308) => {
            response.headers().get(LOCATION)?.to_str().ok()
        }
        _ => None,
    }
}

fn request(target: &Target, headers: &HeaderMap) -> Result<Request> {
    let no_request = |error: WsError| errors::no_handshake(target, &error);
    let mut request = target.as_str().into_client_request().map_err(no_request)?;
    if let Some(authorization) = target.authorization() {
        request.headers_mut().insert(AUTHORIZATION, authorization);
    }
    // The person's own come last and win.
    request.headers_mut().extend(headers.clone());
    Ok(request)
}
