//! A connection's opening: TLS, the HTTP request, and the socket that comes of it.

use std::io;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::MaybeTlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, info};
use tungstenite::http::HeaderMap;
use tungstenite::protocol::{Role, WebSocketConfig};

use super::http::{self, needs_tls};
use super::places::{Place, Refusal};
use super::{Request, Server, forwarded};
use crate::Socket;
use crate::socket::Keepalive;
use crate::socket::close::hang_up;

/// What an opening needs to know.
pub(super) struct Opening {
    pub(super) server: Server,
    pub(super) stop: CancellationToken,
    /// Connections whose request was answered, until they are told that the server stops.
    pub(super) answered: TaskTracker,
}

/// A connection whose request opened a WebSocket.
pub(super) struct Opened {
    pub(super) socket: Box<Socket>,
    pub(super) request: Request,
    pub(super) place: Place,
    pub(super) answered: TaskTrackerToken,
}

impl Opening {
    /// TLS and the HTTP request, within `open_timeout`. `None`: it did not become a WebSocket, and
    /// has ended.
    pub(super) async fn open(
        &self,
        stream: TcpStream,
        place: Place,
        refusal: Option<Refusal>,
    ) -> Option<Opened> {
        let deadline = Instant::now() + self.server.flags.open_timeout;
        // All that a handshake needs is allocated once there is something to read. Then it is
        // done, mostly, before another connection has its turn: ten thousand that come at once
        // leave no holes in memory between what stays.
        match timeout_at(deadline, stream.readable()).await {
            Ok(_) => Box::pin(self.handshake(stream, place, refusal, deadline)).await,
            Err(_) => {
                info!("no complete handshake within open_timeout");
                None
            }
        }
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        place: Place,
        refusal: Option<Refusal>,
        deadline: Instant,
    ) -> Option<Opened> {
        let peer = place.client;
        // hyper calls what answers through a shared reference.
        let place = Mutex::new(place);
        let answered = OnceLock::new();
        let admit = |headers: &HeaderMap| {
            // Whom the server lets in while it stops, it also tells that it stops.
            answered.get_or_init(|| self.answered.token());
            let mut place = place.lock();
            let client = forwarded::client(peer, headers, place.trusted_proxies());
            let refusal = refusal.or(place.give_to(client));
            let is_stopping = self.stop.is_cancelled();
            (client, if is_stopping { Some(Refusal::ShuttingDown) } else { refusal })
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
                http::open(&mut stream, peer, &self.server, admit).await?
            };
            Ok(Some((stream, switched)))
        };
        match timeout_at(deadline, opening).await {
            Ok(Ok(Some((stream, Some((request, behind)))))) => {
                let (place, answered) = (place.into_inner(), answered.into_inner()?);
                let mut socket = self.socket(stream, &behind);
                socket.client = (place.client != peer).then(|| Box::new(place.client));
                return Some(Opened { socket, request, place, answered });
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

    pub(super) fn socket(&self, stream: MaybeTlsStream<TcpStream>, behind: &[u8]) -> Box<Socket> {
        let flags = &self.server.flags;
        let config = WebSocketConfig::default()
            .max_message_size(Some(flags.max_size))
            .max_frame_size(Some(flags.max_size));
        Box::new(Keepalive::new(stream, behind, Role::Server, config, flags.pings()))
    }
}
