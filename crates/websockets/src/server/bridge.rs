//! WebSockets inside a service whose port belongs to axum or hyper.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tracing::{Instrument, info_span};
use tungstenite::http::{self, StatusCode};
use tungstenite::protocol::Role;

use super::accept::Accepted;
use super::answer::{malformed, upgrade};
use super::connection::run_connection;
use super::handler::Handler;
use super::handshake::required;
use super::running::Running;
use super::{Request, Server, forwarded, respond};
use crate::Socket;
use crate::headers::lists;
use crate::socket::boxed;

/// Turns requests that axum or hyper received into WebSockets. See [`Server::bridge`]. Cloning is
/// cheap.
#[derive(Clone)]
pub struct Bridge(Arc<Running>);

impl Server {
    /// Serves WebSockets in a service whose port belongs to axum or hyper, next to the service's
    /// own routes.
    ///
    /// For each WebSocket, the bridge does what [`serve`](Self::serve) does: it checks the
    /// handshake and the origin, applies the limits, calls `process_request`, runs the handler, and
    /// closes with the code that fits. To pass a state to the handler, use
    /// [`with`](crate::with). The example `axum` in this crate serves GET, POST and a WebSocket on
    /// one port.
    ///
    /// Everything before the request belongs to the owner of the port. So `--open-timeout` is only
    /// the time for `process_request`. The bridge ignores the address, `page` and `ready`, it serves no `/healthz`, and
    /// `--max-connections` counts WebSockets only. `axum::serve` waits forever for a client that
    /// sends nothing. If strangers can reach the port, put a proxy with a timeout in front of it, or
    /// accept connections with hyper and its `header_read_timeout`.
    ///
    /// The origins that are allowed by default are those of pages on this machine, and of pages
    /// that were opened by this server's IP address. For a page with a host name, use
    /// `--allow-origin`.
    pub fn bridge<A>(self, handler: impl Handler<(), A>) -> Bridge {
        Bridge(Running::new(self, handler.boxed(())))
    }
}

impl Bridge {
    /// Answers a request for a WebSocket from the client at `peer`. Return the response to axum or
    /// hyper: it is 101, or an error response with the reason.
    ///
    /// Extensions that you have added to the request, for example in a middleware that checks a
    /// login, reach `process_request` and the handler.
    pub async fn upgrade<B, R: From<Bytes>>(
        &self,
        request: http::Request<B>,
        peer: SocketAddr,
    ) -> http::Response<R> {
        let running = &self.0;
        let open_timeout = running.server.flags.open_timeout;
        let (parts, body) = request.into_parts();
        let mut head = http::Request::from_parts(parts, ());
        // hyper keeps the connection in the extensions.
        let upgraded = hyper::upgrade::on(&mut head);
        drop(body);
        let client = forwarded::client(peer, head.headers(), running.limits.trusted_proxies());
        let (permit, rejection) = running.limits.try_acquire(Some(client.ip()));
        let (awaiting_shutdown_notice, rejection) = running.admit(rejection);
        let mut request = Request::new(head, Some(client));
        let is_upgrade = lists(request.headers(), http::header::UPGRADE, "websocket");
        let response = match malformed(&request) {
            Some(response) => response,
            None if !is_upgrade => {
                required("This is a WebSocket; connect with a client, for example talk.")
            }
            None => {
                let response = upgrade(&mut request, &running.server, rejection)
                    .instrument(info_span!("connection", peer = %client));
                let response = timeout(open_timeout, response).await;
                let too_late = |_| respond(StatusCode::SERVICE_UNAVAILABLE, "This took too long.");
                response.unwrap_or_else(too_late)
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let options = running.server.flags.options();
            let accepting = async move {
                // Ready as soon as hyper has sent the response.
                let stream = timeout(open_timeout, upgraded).await.ok()?.ok()?;
                let stream = boxed(TokioIo::new(stream));
                let deflate = request.deflate();
                let socket = Socket::on(stream, &[], Role::Server, options, deflate, Some(client));
                Some(Accepted { socket, request, permit, awaiting_shutdown_notice })
            };
            tokio::spawn(run_connection(Arc::clone(running), Box::pin(accepting)));
        }
        response.map(R::from)
    }

    /// The number of open WebSockets.
    pub fn connections(&self) -> usize {
        self.0.limits.in_use()
    }

    /// Sends 1001 to every client, lets the handlers finish, and returns when every connection has
    /// ended, or after 2 s for the close frames and `close_timeout` (6 s at most). New requests are
    /// answered with 503.
    pub async fn shut_down(&self) {
        self.0.shut_down().await;
    }
}
