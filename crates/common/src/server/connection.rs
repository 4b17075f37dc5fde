//! One connection's life, from its first byte to its last: TLS, the HTTP request, the handler,
//! the close.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Instrument, debug, info, info_span};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Role, WebSocketConfig};

use super::http::{self, Refusal, needs_tls};
use super::{Handler, Request, Server};
use crate::Socket;
use crate::socket::Keepalive;
use crate::socket::close::{close, close_frame, frame_for, handler_failed, hang_up};

/// tungstenite allocates this much for each connection, and fills it with zeros at each attempt
/// to read. Its default of 128 KiB costs 137 KiB an idle connection and twice the CPU of a
/// fan-out; 512 bytes to 4 KiB measured best.
const BUFFER: usize = 512;

/// What all connections of a server share.
pub(super) struct Shared<H> {
    pub(super) server: Server,
    handler: H,
    /// Connections whose request was answered: those to wait for at the end.
    pub(super) answered: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl<H: Handler> Shared<H> {
    pub(super) fn new(server: Server, handler: H, stop: CancellationToken) -> Self {
        Self { server, handler, answered: TaskTracker::new(), stop }
    }

    /// One connection, until it ends. This future lives as long as the connection, so it is kept
    /// small: an async block keeps what it was given once, where an `async fn` keeps it twice,
    /// and what is large is boxed for as long as it is needed.
    pub(super) fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        is_full: bool,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send {
        let opening = Arc::clone(&self).open(stream, peer, is_full);
        let opening = Box::pin(opening.instrument(info_span!("connection", %peer)));
        async move {
            let Some((mut socket, request, answered)) = opening.await else { return };
            // The call may panic before there is a future.
            let call = AssertUnwindSafe(|| (self.handler)(&mut socket, request));
            let ended = match catch_unwind(call) {
                Ok(conversation) => tokio::select! {
                    biased;
                    () = self.stop.cancelled() => None,
                    result = AssertUnwindSafe(conversation).catch_unwind() => Some(result),
                },
                Err(panic) => Some(Err(panic)),
            };
            // Not before: a span that is entered at each wake costs as much as a write saves.
            let span = info_span!("connection", %peer);
            let frame = match ended {
                None => Some(close_frame(CloseCode::Away, "the server shuts down")),
                Some(Ok(result)) => span.in_scope(|| frame_for(result)),
                // The panic hook has logged it.
                Some(Err(_)) => Some(handler_failed()),
            };
            if let Some(frame) = frame {
                let farewell = close(&mut socket, frame, self.server.flags.close_timeout);
                Box::pin(farewell.instrument(span)).await;
            }
            drop((permit, answered));
        }
    }

    /// TLS and the HTTP request, within `open_timeout`. `None`: it did not become a WebSocket, and
    /// has ended.
    async fn open(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        is_full: bool,
    ) -> Option<(Box<Socket>, Request, TaskTrackerToken)> {
        let deadline = Instant::now() + self.server.flags.open_timeout;
        // All that a handshake needs is allocated once there is something to read. Then it is
        // done, mostly, before another connection has its turn: ten thousand that come at once
        // leave no holes in memory between what stays.
        match timeout_at(deadline, stream.readable()).await {
            Ok(_) => Box::pin(self.handshake(stream, peer, is_full, deadline)).await,
            Err(_) => {
                info!("no complete handshake within open_timeout");
                None
            }
        }
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        is_full: bool,
        deadline: Instant,
    ) -> Option<(Box<Socket>, Request, TaskTrackerToken)> {
        // Whom the server lets in while it stops, it also tells that it stops.
        let answered = OnceLock::new();
        let refusal = || {
            answered.get_or_init(|| self.answered.token());
            match (self.stop.is_cancelled(), is_full) {
                (true, _) => Some(Refusal::ShuttingDown),
                (false, true) => Some(Refusal::Full),
                (false, false) => None,
            }
        };
        let opening = async {
            let Some(mut stream) = self.secure(stream).await? else {
                return Ok(None);
            };
            // What is not encrypted on a TLS port gets a word, and no more.
            let switched = if self.server.is_tls() && matches!(stream, MaybeTlsStream::Plain(_)) {
                stream.write_all(needs_tls().as_bytes()).await?;
                None
            } else {
                http::open(&mut stream, peer, &self.server, refusal).await?
            };
            Ok(Some((stream, switched)))
        };
        match timeout_at(deadline, opening).await {
            Ok(Ok(Some((stream, Some((request, behind)))))) => {
                let answered = answered.into_inner()?;
                return Some((self.socket(stream, behind).await, request, answered));
            }
            // Who was answered and stays all the same has done nothing wrong, but nobody waits
            // for it when the server stops.
            Ok(Ok(Some((mut stream, None)))) => {
                drop(answered);
                _ = timeout_at(deadline, hang_up(&mut stream)).await;
            }
            Ok(Ok(None)) => {}
            Ok(Err::<_, io::Error>(error)) => debug!("gone during the handshake: {error}"),
            Err(_) => info!("no complete handshake within open_timeout"),
        }
        None
    }

    /// Sorts out by the first byte who speaks TLS and who does not, and encrypts if the server
    /// does. `None`: there is nobody to answer.
    async fn secure(&self, stream: TcpStream) -> io::Result<Option<MaybeTlsStream<TcpStream>>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Ok(None);
        }
        // 22 is the type of a TLS handshake record (RFC 8446, section 5.1), and no letter.
        match (self.server.is_tls(), first == [22]) {
            (false, false) => Ok(Some(MaybeTlsStream::Plain(stream))),
            (false, true) => {
                info!("a TLS hello on a plain port: use ws:// and http://, or start wss-server");
                Ok(None)
            }
            (true, false) => {
                info!("plain HTTP on the TLS port: use wss:// and https://");
                Ok(Some(MaybeTlsStream::Plain(stream)))
            }
            (true, true) => Ok(self.encrypt(stream).await),
        }
    }

    #[cfg(feature = "tls")]
    async fn encrypt(&self, stream: TcpStream) -> Option<MaybeTlsStream<TcpStream>> {
        match self.server.tls.as_ref()?.accept(stream).await {
            Ok(stream) => Some(MaybeTlsStream::NativeTls(stream)),
            Err(error) => {
                info!("no TLS session; does the client trust the certificate? ({error})");
                None
            }
        }
    }

    #[cfg(not(feature = "tls"))]
    async fn encrypt(&self, _stream: TcpStream) -> Option<MaybeTlsStream<TcpStream>> {
        None
    }

    async fn socket(&self, stream: MaybeTlsStream<TcpStream>, behind: Bytes) -> Box<Socket> {
        let flags = &self.server.flags;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_message_size(Some(flags.max_size))
            .max_frame_size(Some(flags.max_size));
        // A copy: the original keeps the whole buffer of the request alive.
        let behind = behind.to_vec();
        let websocket =
            WebSocketStream::from_partially_read(stream, behind, Role::Server, Some(config)).await;
        Box::new(Keepalive::new(websocket, flags.pings()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]
mod tests {
    use futures_util::future::BoxFuture;
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::Result;
    use crate::server::Flags;

    #[tokio::test]
    async fn what_an_idle_connection_keeps_in_memory_is_small() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap();
        let connect = async || TcpStream::connect(peer).await.unwrap();
        fn handler(_: &mut Socket, _: Request) -> BoxFuture<'_, Result<()>> {
            Box::pin(async { Ok(()) })
        }
        let server = Server::new(Flags::default());
        let shared = Arc::new(Shared::new(server, handler, CancellationToken::new()));
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();

        let stream = MaybeTlsStream::Plain(connect().await);
        let socket_size = size_of_val(&*shared.socket(stream, Bytes::new()).await);
        let connection = shared.clone().connection(connect().await, peer, false, permit);
        println!("socket {socket_size}, connection {}", size_of_val(&connection));

        // The socket: tungstenite's state and the TCP stream (312), the keepalive's (144).
        assert!(socket_size <= 464);
        // The connection: what it was given, the wait for its first byte or for the end of the
        // server (96), the handler's future, boxed, or the farewell, boxed, and how the
        // conversation ended. tokio's task adds 112, and rounds up to a multiple of 128.
        assert!(size_of_val(&connection) <= 272);
        // Beside them a connection has a read buffer (512), tokio's registration of the
        // descriptor (256), the keepalive's timer (112) and wakers (64), tungstenite's (160),
        // and the handler's future (counter: 288).
    }
}
