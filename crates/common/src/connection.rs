//! One connection's life, from its first byte to its last: TLS, the opening handshake, the
//! handler, the close.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tracing::{Instrument, debug, info, info_span};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Role, WebSocketConfig};

use crate::Socket;
use crate::close::{close, close_frame, frame_for, handler_failed, hang_up};
use crate::handshake::{self, Refusal, needs_tls};
use crate::keepalive::Keepalive;
use crate::serve::{Conversation, House};

/// tungstenite allocates this much for each connection, and fills it with zeros at each attempt
/// to read. Its default of 128 KiB costs 137 KiB an idle connection and twice the CPU of a
/// fan-out; 512 bytes to 4 KiB measured best.
const BUFFER: usize = 512;

impl<H> House<H>
where
    H: for<'a> Fn(&'a mut Socket) -> Conversation<'a> + Send + Sync + 'static,
{
    /// The opening handshake. The conversation gets a task of its own, so that the memory of
    /// this one is freed.
    pub(crate) async fn open(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        refusal: Option<Refusal>,
        permit: OwnedSemaphorePermit,
    ) {
        // Whom the server lets in while it stops, it also tells that it stops.
        let answered = OnceLock::new();
        let refusal = || {
            answered.get_or_init(|| self.conversations.token());
            if self.stop.is_cancelled() { Some(Refusal::ShuttingDown) } else { refusal }
        };
        let opening = async {
            let Some(mut stream) = self.secure(stream).await? else {
                return Ok(None);
            };
            // What is not encrypted on a TLS port gets a word, and no more.
            let behind = if self.server.is_tls() && matches!(stream, MaybeTlsStream::Plain(_)) {
                stream.write_all(needs_tls().as_bytes()).await?;
                None
            } else {
                handshake::open(&mut stream, &self.server.policy, refusal).await?
            };
            Ok(Some((stream, behind)))
        };
        let deadline = Instant::now() + self.server.flags.open_timeout;
        match timeout_at(deadline, opening).await {
            Ok(Ok(Some((stream, Some(behind))))) => {
                let socket = self.socket(stream, behind).await;
                let converse = Arc::clone(&self).converse(socket, peer, permit);
                self.conversations.spawn(converse);
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

    /// The conversation and its end. This future lives as long as the connection, so it is kept
    /// small: an async block keeps what it was given once, where an `async fn` keeps it twice;
    /// what is large is boxed, and what comes last is boxed when it comes.
    #[expect(clippy::manual_async_fn, reason = "an async fn keeps its arguments twice")]
    fn converse(
        self: Arc<Self>,
        mut socket: Box<Socket>,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send {
        async move {
            let ended = {
                // A block, so that a panic before there is a future is caught, too.
                let conversation = async { (self.handler)(&mut socket).await };
                let conversation = AssertUnwindSafe(conversation).catch_unwind();
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => None,
                    result = conversation => Some(result),
                }
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
            drop(permit);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]
mod tests {
    use clap::Parser;
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::Server;
    use crate::flags::Flags;

    #[tokio::test]
    async fn what_an_idle_connection_keeps_in_memory_is_small() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap();
        let stream = MaybeTlsStream::Plain(TcpStream::connect(peer).await.unwrap());
        let server = Server::new(Flags::parse_from(["server", "localhost:0"]));
        fn handler(_: &mut Socket) -> Conversation<'_> {
            Box::pin(async { Ok(()) })
        }
        let house = Arc::new(House::new(server, handler, CancellationToken::new()));
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();

        let socket = house.socket(stream, Bytes::new()).await;
        let socket_size = size_of_val(&*socket);
        let converse = Arc::clone(&house).converse(socket, peer, permit);
        println!("socket {socket_size}, conversation {}", size_of_val(&converse));

        // The socket: tungstenite's state and the TCP stream (312), the keepalive's (144).
        assert!(socket_size <= 464);
        // The conversation: what it was given (56), the wait for the end of the server (96), the
        // handler's future, boxed, or the farewell, boxed, and how the conversation ended.
        // tokio's task adds 112, and rounds up to a multiple of 128.
        assert!(size_of_val(&converse) <= 240);
        // Beside them a connection has a read buffer (512), tokio's registration of the
        // descriptor (256), the keepalive's timer (112) and wakers (64), tungstenite's (160),
        // and the handler's future (counter: 288).
    }
}
