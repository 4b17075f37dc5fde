//! The proxies of the environment. `HTTP_PROXY` is for `ws://`, `HTTPS_PROXY` for `wss://`,
//! `ALL_PROXY` for both, and `NO_PROXY` has the hosts that need no proxy. curl reads them the same
//! way.
//!
//! A WebSocket passes a proxy in a tunnel (RFC 6455, section 4.1), either by the CONNECT method of
//! HTTP or by SOCKS 5. With `socks5://` this client looks up the host name, with `socks5h://` the
//! proxy does.

use std::net::IpAddr;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::net::{TcpStream, lookup_host};
use tokio_socks::tcp::Socks5Stream;
use tokio_socks::{Error as SocksError, TargetAddr};
use tungstenite::http::StatusCode;

use super::dial::dial;
use super::errors::no_connection;
use super::http::exchange;
use super::url::Target;
use crate::Result;

/// A proxy from the environment, and the server behind it.
pub(super) struct Proxy<'a> {
    proxy: Intercept,
    target: &'a Target,
}

impl<'a> Proxy<'a> {
    /// The proxy from the environment for `target`, if there is one.
    pub(super) fn of(target: &'a Target) -> Option<Self> {
        let proxy = Matcher::from_env().intercept(&target.as_http().parse().ok()?)?;
        Some(Self { proxy, target })
    }

    /// The name of the proxy in error messages, without its credentials.
    pub(super) fn name(&self) -> String {
        format!("the proxy {}", self.proxy.uri().to_string().trim_end_matches('/'))
    }

    /// Connects to the target through the proxy.
    ///
    /// # Errors
    ///
    /// One sentence with the name of the proxy, without its credentials.
    pub(super) async fn tunnel(&self) -> Result<TcpStream> {
        match self.proxy.uri().scheme_str() {
            Some("http") => self.connect().await,
            Some("socks5" | "socks5h") => self.socks5().await,
            _ => Err(self.fault("has an unsupported scheme", "use http:// or socks5h://")),
        }
    }

    fn fault(&self, what: &str, hint: &str) -> crate::Error {
        let (target, proxy, host) = (self.target, self.name(), self.target.host());
        format!(
            "cannot reach {target}: {proxy} {what}; {hint}, or set NO_PROXY={host} to go without \
             it"
        )
        .into()
    }

    async fn dial(&self, default_port: u16) -> Result<TcpStream> {
        let host = self.proxy.uri().host().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.proxy.uri().port_u16().unwrap_or(default_port);
        dial(host, port)
            .await
            .map_err(|error| self.fault(&format!("is unreachable ({error})"), "check that it runs"))
    }

    async fn connect(&self) -> Result<TcpStream> {
        // In an authority, an IPv6 address has brackets.
        let host = self.target.host();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let authority = format!("{host}:{}", self.target.port());
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n");
        if let Some(login) = self.proxy.basic_auth() {
            request += &format!("proxy-authorization: {}\r\n", login.to_str()?);
        }
        request += "\r\n";

        let mut stream = self.dial(80).await?;
        let exchanged = exchange(&mut stream, request.as_bytes()).await;
        let (response, unread) = exchanged.map_err(|error| {
            self.fault(
                &format!("does not answer like an HTTP proxy ({error})"),
                "check its address",
            )
        })?;
        match response.status() {
            // A WebSocket server never sends first, with TLS or without.
            status if status.is_success() && unread.is_empty() => Ok(stream),
            status if status.is_success() => {
                Err(self.fault("sent bytes of its own into the tunnel", "is it an HTTP proxy?"))
            }
            // tinyproxy answers 401 to a wrong login.
            status @ (StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED) => {
                Err(self.fault(
                    &format!("requires a different login ({})", status.as_u16()),
                    "set HTTP_PROXY=http://name:password@host:port",
                ))
            }
            status => {
                let refused = format!("does not connect to {authority} ({status})");
                Err(self.fault(&refused, "check which hosts it allows"))
            }
        }
    }

    async fn socks5(&self) -> Result<TcpStream> {
        let (host, port) = (self.target.host(), self.target.port());
        let to = match self.proxy.uri().scheme_str() {
            Some("socks5") => {
                let addresses = lookup_host((host, port)).await;
                let mut addresses =
                    addresses.map_err(|error| no_connection(self.target, &error))?;
                addresses.next().map(TargetAddr::Ip)
            }
            _ => host.parse::<IpAddr>().ok().map(|address| TargetAddr::Ip((address, port).into())),
        };
        let to = to.unwrap_or_else(|| TargetAddr::Domain(host.into(), port));

        // 1080 is the port of RFC 1928.
        let stream = self.dial(1080).await?;
        let tunnel = match self.proxy.raw_auth() {
            Some((name, password)) => {
                Socks5Stream::connect_with_password_and_socket(stream, to, name, password).await
            }
            None => Socks5Stream::connect_with_socket(stream, to).await,
        };
        Ok(tunnel.map_err(|error| self.socks5_fault(&error))?.into_inner())
    }

    fn socks5_fault(&self, error: &SocksError) -> crate::Error {
        let login = "set ALL_PROXY=socks5h://name:password@host:port";
        match error {
            SocksError::PasswordAuthFailure(_)
            | SocksError::NoAcceptableAuthMethods
            | SocksError::InvalidAuthValues(_) => self.fault("requires a different login", login),
            SocksError::InvalidResponseVersion | SocksError::Io(_) => self.fault(
                &format!("does not answer like a SOCKS 5 proxy ({error})"),
                "check its address",
            ),
            error => self
                .fault(&format!("did not connect to it ({error})"), "check which hosts it allows"),
        }
    }
}

#[cfg(test)]
mod tests {
    use testing::property::{check, mutate, pieces};
    use testing::soon;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::runtime;
    use tokio::task::yield_now;
    use tungstenite::http::Uri;

    use super::*;

    #[test]
    fn any_proxy_gives_a_tunnel_or_an_error() {
        const HTTP: [&str; 4] = [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 407 Log in\r\nA: b\r\n\r\n",
            "HTTP/1.0 503 \u{1b}[2J\u{202e}\r\nContent-Length: 2\r\n\r\nno",
            "\u{1b}[2J",
        ];
        const SOCKS: [&[u8]; 3] =
            [b"\x05\0\x05\0\0\x01\0\0\0\0\0\0", b"\x05\x02", b"\x05\0\x05\x05\0\x03\x02ab\0\0"];
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        check(150, |input| {
            let (scheme, right) =
                *input.choose(&[("http", HTTP[0].as_bytes()), ("socks5h", SOCKS[0])])?;
            let mut answer = match scheme {
                "http" => input.choose(&HTTP)?.as_bytes().to_vec(),
                _ => input.choose(&SOCKS)?.to_vec(),
            };
            if input.ratio(3, 4)? {
                mutate(input, &mut answer)?;
            }
            let is_right = answer == right;
            let pieces = pieces(input, &answer)?;
            let tunnel = runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let url = format!("{scheme}://{}", listener.local_addr().unwrap());
                let proxy = Matcher::builder().all(url).build();
                let proxy = proxy.intercept(&Uri::from_static("http://example.com")).unwrap();
                let target = Target::parse("ws://example.com").unwrap();
                let proxy = Proxy { proxy, target: &target };
                let serve = async {
                    let mut stream = listener.accept().await.unwrap().0;
                    stream.set_nodelay(true).unwrap();
                    let mut request = [0; 3];
                    stream.read_exact(&mut request).await.unwrap();
                    for piece in pieces {
                        if stream.write_all(piece).await.is_err() {
                            break;
                        }
                        yield_now().await;
                    }
                    _ = stream.shutdown().await;
                    stream
                };
                soon("the tunnel", async { tokio::join!(proxy.tunnel(), serve).0 }).await
            });
            match tunnel {
                Ok(_) => {
                    assert!(answer.starts_with(b"HTTP/1.") || answer.starts_with(&[5, 0, 5, 0]))
                }
                Err(error) => {
                    assert!(!is_right, "{error}");
                    let error = error.to_string();
                    let wants_login = answer == HTTP[1].as_bytes();
                    assert!(
                        !wants_login || error.contains("requires a different login"),
                        "{error}"
                    );
                    let is_safe = |c: char| !c.is_control() && c != '\u{202e}';
                    assert!(error.chars().all(is_safe), "{error:?}");
                }
            }
            Ok(())
        });
    }
}
