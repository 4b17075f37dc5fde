//! Accepts a connection: TLS, the HTTP request, and the socket that they become.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tokio_util::either::Either;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Instrument, Span, debug, info, info_span};
use tungstenite::http::{Method, StatusCode};
use tungstenite::protocol::Role;

use super::answer::answer;
use super::forwarded;
use super::http::{PROXY_PROTOCOL, TLS_REQUIRED, is_proxy_protocol, read_request, write_response};
use super::limits::{Permit, Rejection};
use super::running::Running;
use super::{Request, respond};
use crate::Socket;
use crate::socket::{LONGEST, Stream, shutdown_and_drain};

/// A connection that is a WebSocket now.
pub(super) struct Accepted {
    pub(super) socket: Socket,
    pub(super) request: Request,
    pub(super) permit: Permit,
    /// The server waits for it when it shuts down, until the client was sent 1001.
    pub(super) awaiting_shutdown_notice: TaskTrackerToken,
}

/// TLS and the HTTP request, within `open_timeout`. `None` if the connection did not become a
/// WebSocket and has ended.
pub(super) async fn accept(
    running: Arc<Running>,
    stream: Stream,
    peer: Option<SocketAddr>,
    permit: Permit,
    rejection: Option<Rejection>,
) -> Option<Accepted> {
    // A program may pass the longest duration there is, which would overflow the clock.
    let deadline = Instant::now() + running.server.flags.open_timeout.min(LONGEST);
    // Everything that a handshake needs is allocated when there is something to read. Then the
    // handshake usually completes before another connection is polled, so ten thousand that arrive
    // at the same time leave no holes in memory between the allocations that remain.
    let readable = match &stream {
        Either::Left(stream) => Either::Left(stream.readable()),
        // A Unix socket has few clients at the same time, for example a proxy.
        Either::Right(_) => Either::Right(ready(Ok(()))),
    };
    if timeout_at(deadline, readable).await.is_ok() {
        let handshake = handshake(&running, stream, peer, permit, rejection, deadline);
        return Box::pin(handshake).await;
    }
    info!("no complete handshake within open_timeout");
    None
}

async fn handshake(
    running: &Running,
    stream: Stream,
    peer: Option<SocketAddr>,
    mut permit: Permit,
    rejection: Option<Rejection>,
    deadline: Instant,
) -> Option<Accepted> {
    let exchange = async {
        let Some(mut stream) = detect_tls(running, stream).await? else { return Ok(None) };
        let opened = request(running, &mut stream, peer, &mut permit, rejection).await?;
        Ok(Some((stream, opened)))
    };
    match timeout_at(deadline, exchange).await {
        Ok(Ok(Some((stream, Some((request, unread, awaiting_shutdown_notice)))))) => {
            let options = running.server.flags.options();
            let is_known = matches!(stream, Either::Left(_)) && request.remote_address() == peer;
            let client = request.remote_address().filter(|_| !is_known);
            let deflate = request.deflate();
            let socket = Socket::on(stream, &unread, Role::Server, options, deflate, client);
            return Some(Accepted { socket, request, permit, awaiting_shutdown_notice });
        }
        // A client that stays after the response has done nothing wrong, but a shutdown does not
        // wait for it.
        Ok(Ok(Some((mut stream, None)))) => {
            _ = timeout_at(deadline, shutdown_and_drain(&mut stream)).await;
        }
        Ok(Ok(None)) => {}
        Ok(Err::<_, io::Error>(error)) => debug!("disconnected during the handshake: {error}"),
        Err(_) => info!("no complete handshake within open_timeout"),
    }
    None
}

/// Reads a request and writes the response. If the connection is a WebSocket now, returns the
/// request, the bytes that followed it, and the token for which a shutdown waits.
async fn request(
    running: &Running,
    stream: &mut Stream,
    peer: Option<SocketAddr>,
    permit: &mut Permit,
    rejection: Option<Rejection>,
) -> io::Result<Option<(Request, Bytes, TaskTrackerToken)>> {
    let received = match running.server.is_tls() && matches!(stream, Either::Left(_)) {
        true => Some(Err(TLS_REQUIRED)),
        false => read_request(stream).await?,
    };
    let (head, unread) = match received {
        None => return Ok(None),
        Some(Err((status, text))) => {
            write_response(stream, respond(status, text), false).await?;
            return Ok(None);
        }
        Some(Ok(received)) => received,
    };
    let trusted = running.limits.trusted_proxies();
    let client = peer.map(|peer| forwarded::client(peer, head.headers(), trusted));
    let rejection = match client == peer {
        true => rejection,
        false => rejection.or(client.and_then(|client| permit.reassign_to(client.ip()))),
    };
    let (token, rejection) = running.admit(rejection);
    let mut request = Request::new(head, client);
    let span = match client == peer {
        true => Span::current(),
        // The log lines are about the client, not about the proxy.
        false => info_span!(parent: None, "connection", peer = client.map(display)),
    };
    let response = answer(&mut request, &running.server, rejection).instrument(span).await;
    let is_websocket = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    write_response(stream, response, request.method() == Method::HEAD).await?;
    Ok(is_websocket.then_some((request, unread, token)))
}

/// Tells by the first byte whether the client uses TLS, and encrypts if the server does. `None` if
/// no response is possible.
async fn detect_tls(running: &Running, stream: Stream) -> io::Result<Option<Stream>> {
    let tcp = match &stream {
        Either::Left(tcp) => Some(tcp),
        Either::Right(_) => None,
    };
    let mut first = [0; 12];
    if let Some(tcp) = tcp
        && tcp.peek(&mut first).await? == 0
    {
        return Ok(None);
    }
    // 22 is the type of a TLS handshake record (RFC 8446, section 5.1). No method starts with it.
    // The bytes of a Unix socket cannot be seen without taking them.
    let is_client_tls = first.starts_with(&[22]) || tcp.is_none() && running.server.is_tls();
    #[cfg(feature = "tls")]
    if is_client_tls && let Some(acceptors) = &running.server.tls {
        let acceptor = acceptors.borrow().clone();
        let encrypted = acceptor.accept(stream).await.inspect_err(|error| {
            info!("TLS handshake failed: {error}; does the client trust the certificate?");
        });
        return Ok(encrypted.ok().map(crate::socket::boxed));
    }
    if is_client_tls {
        info!("a TLS client on a plain port: use ws:// and http://, or start wss-server");
        return Ok(None);
    }
    if running.server.is_tls() {
        match is_proxy_protocol(&first) {
            true => info!("{PROXY_PROTOCOL}"),
            false => info!("plain HTTP on the TLS port: use wss:// and https://"),
        }
    }
    Ok(Some(stream))
}
