//! The proxies of the environment: `HTTP_PROXY` for `ws://`, `HTTPS_PROXY` for `wss://`,
//! `ALL_PROXY` for both, and `NO_PROXY` for the hosts that need none, each as curl reads it.
//!
//! A WebSocket goes through a proxy by a tunnel (RFC 6455, section 4.1): CONNECT to an HTTP proxy,
//! SOCKS 5 to another. `socks5://` looks the name up here, `socks5h://` has the proxy do it.

use std::net::IpAddr;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::net::{TcpStream, lookup_host};
use tokio_socks::tcp::Socks5Stream;
use tokio_socks::{Error as SocksError, TargetAddr};
use tungstenite::http::StatusCode;

use super::dial::dial;
use super::http::exchange;
use super::url::Target;
use crate::Result;

/// The proxy that the environment names for `target`.
pub(super) fn of(target: &Target) -> Option<Intercept> {
    Matcher::from_env().intercept(&target.as_http().parse().ok()?)
}

/// A connection to `target` by way of `proxy`.
///
/// # Errors
///
/// A sentence that names the proxy, without its credentials.
pub(super) async fn tunnel(target: &Target, proxy: &Intercept) -> Result<TcpStream> {
    let through = Proxy { proxy, target };
    match proxy.uri().scheme_str() {
        Some("http") => connect(&through).await,
        Some("socks5" | "socks5h") => socks5(&through).await,
        _ => Err(through
            .fault("is of a kind that is not spoken here", "name one by http:// or socks5h://")),
    }
}

/// How error messages name a proxy, without its credentials.
pub(super) fn name(proxy: &Intercept) -> String {
    format!("the proxy {}", proxy.uri().to_string().trim_end_matches('/'))
}

/// What every sentence on a proxy names.
struct Proxy<'a> {
    proxy: &'a Intercept,
    target: &'a Target,
}

impl Proxy<'_> {
    fn fault(&self, what: &str, remedy: &str) -> crate::Error {
        let Self { proxy, target } = self;
        let (proxy, host) = (name(proxy), target.host());
        format!(
            "cannot reach {target}: {proxy} {what}; {remedy}, or set NO_PROXY={host} to go without \
             it"
        )
        .into()
    }

    async fn dial(&self, default_port: u16) -> Result<TcpStream> {
        let host = self.proxy.uri().host().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.proxy.uri().port_u16().unwrap_or(default_port);
        dial(host, port).await.map_err(|error| {
            self.fault(&format!("cannot be connected to ({error})"), "see that it runs")
        })
    }
}

async fn connect(through: &Proxy<'_>) -> Result<TcpStream> {
    let Proxy { proxy, target } = through;
    // The brackets of IPv6 are part of an authority.
    let host = target.host();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let authority = format!("{host}:{}", target.port());
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n");
    if let Some(login) = proxy.basic_auth() {
        request += &format!("proxy-authorization: {}\r\n", login.to_str()?);
    }
    request += "\r\n";

    let mut stream = through.dial(80).await?;
    let (response, unread) = exchange(&mut stream, request.as_bytes()).await.map_err(|error| {
        through.fault(&format!("does not answer as HTTP proxies do ({error})"), "is it one?")
    })?;
    match response.status() {
        // No WebSocket server speaks first, with TLS or without.
        status if status.is_success() && unread.is_empty() => Ok(stream),
        status if status.is_success() => {
            Err(through.fault("sent bytes of its own into the tunnel", "is it an HTTP proxy?"))
        }
        // 401 is what tinyproxy answers to a wrong login.
        status @ (StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED) => {
            Err(through.fault(
                &format!("wants another login ({})", status.as_u16()),
                "give it as in HTTP_PROXY=http://name:password@host:port",
            ))
        }
        status => {
            let refused = format!("does not connect to {authority} ({status})");
            Err(through.fault(&refused, "see what it allows"))
        }
    }
}

async fn socks5(through: &Proxy<'_>) -> Result<TcpStream> {
    let Proxy { proxy, target } = through;
    let (host, port) = (target.host(), target.port());
    let to = match proxy.uri().scheme_str() {
        Some("socks5") => {
            let mut addresses = lookup_host((host, port)).await.map_err(|error| {
                format!("cannot connect to {target}: {error}; is it the right address?")
            })?;
            addresses.next().map(TargetAddr::Ip)
        }
        _ => host.parse::<IpAddr>().ok().map(|address| TargetAddr::Ip((address, port).into())),
    };
    let to = to.unwrap_or_else(|| TargetAddr::Domain(host.into(), port));

    // RFC 1928's port.
    let stream = through.dial(1080).await?;
    let tunnel = match proxy.raw_auth() {
        Some((name, password)) => {
            Socks5Stream::connect_with_password_and_socket(stream, to, name, password).await
        }
        None => Socks5Stream::connect_with_socket(stream, to).await,
    };
    Ok(tunnel.map_err(|error| socks5_fault(through, &error))?.into_inner())
}

fn socks5_fault(through: &Proxy<'_>, error: &SocksError) -> crate::Error {
    let login = "give its login as in ALL_PROXY=socks5h://name:password@host:port";
    match error {
        SocksError::PasswordAuthFailure(_)
        | SocksError::NoAcceptableAuthMethods
        | SocksError::InvalidAuthValues(_) => through.fault("wants another login", login),
        SocksError::InvalidResponseVersion | SocksError::Io(_) => {
            through.fault(&format!("does not answer as SOCKS 5 proxies do ({error})"), "is it one?")
        }
        error => through.fault(&format!("did not connect to it ({error})"), "see what it allows"),
    }
}
