//! One connection's life, from its first byte to its last: TLS, the opening handshake, the
//! handler, the close.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tracing::{Instrument, debug, info};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Role, WebSocketConfig};

use crate::Socket;
use crate::close::{close, close_frame, frame_for, hang_up};
use crate::handshake::{self, Refusal};
use crate::keepalive::Keepalive;
use crate::serve::{Conversation, House};

/// tungstenite allocates this much for each connection, and fills it with zeros at each attempt
/// to read. Its default of 128 KiB costs 137 KiB an idle connection and twice the CPU of a
/// fan-out; 512 bytes to 4 KiB measured best.
const BUFFER: usize = 1024;

impl<H> House<H>
where
    H: for<'a> Fn(&'a mut Socket) -> Conversation<'a> + Send + Sync + 'static,
{
    /// The opening handshake. The conversation gets a task of its own, so that the memory of
    /// this one is freed.
    pub(crate) async fn open(
        self: Arc<Self>,
        stream: TcpStream,
        refusal: Option<Refusal>,
        permit: OwnedSemaphorePermit,
    ) {
        let refusal = || {
            if self.stop.is_cancelled() { Some(Refusal::ShuttingDown) } else { refusal }
        };
        let opening = async {
            let Some(mut stream) = self.secure(stream).await? else {
                return Ok(None);
            };
            let behind = handshake::open(&mut stream, &self.server.policy, refusal).await?;
            Ok(behind.map(|behind| (stream, behind)))
        };
        match timeout(self.server.flags.open_timeout, opening).await {
            Ok(Ok(Some((stream, behind)))) => {
                let house = Arc::clone(&self);
                let conversation = async move {
                    house.converse(stream, behind.into()).await;
                    drop(permit);
                };
                self.conversations.spawn(conversation.in_current_span());
            }
            Ok(Ok(None)) => {}
            Ok(Err::<_, io::Error>(error)) => debug!("gone during the handshake: {error}"),
            Err(_) => info!("no complete handshake within open_timeout"),
        }
    }

    /// Sorts out by the first byte who speaks TLS and who does not, and encrypts if the server
    /// does. `None`: there was nothing to be done for the peer but a word.
    async fn secure(&self, mut stream: TcpStream) -> io::Result<Option<MaybeTlsStream<TcpStream>>> {
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
                let text = "This port speaks TLS; use https:// or wss://.";
                stream
                    .write_all(handshake::plain_answer("400 Bad Request", text).as_bytes())
                    .await?;
                hang_up(&mut stream).await?;
                Ok(None)
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

    async fn converse(&self, stream: MaybeTlsStream<TcpStream>, behind: Vec<u8>) {
        let flags = &self.server.flags;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_message_size(Some(flags.max_size))
            .max_frame_size(Some(flags.max_size));
        let websocket =
            WebSocketStream::from_partially_read(stream, behind, Role::Server, Some(config)).await;
        let mut socket = Keepalive::new(websocket, flags.pings());
        let frame = {
            let conversation = AssertUnwindSafe((self.handler)(&mut socket)).catch_unwind();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => Some(close_frame(CloseCode::Away, "the server shuts down")),
                result = conversation => match result {
                    Ok(result) => frame_for(result),
                    // The panic hook has logged it.
                    Err(_) => Some(close_frame(CloseCode::Error, "the server met an error")),
                },
            }
        };
        if let Some(frame) = frame {
            close(&mut socket, frame, flags.close_timeout).await;
        }
    }
}
