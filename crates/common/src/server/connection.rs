//! One connection's life, from its first byte to its last: the opening, the handler, the close.

use std::future::poll_fn;
use std::mem::take;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::FutureExt;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info_span};
use tungstenite::protocol::frame::coding::CloseCode;

use super::opening::{Opened, Opening};
use super::places::{Place, Places, Refusal};
use super::{Handler, Server};
use crate::socket::close::{close, close_frame, frame_for, handler_failed};

/// What all connections of a server share.
pub(super) struct Shared<H> {
    pub(super) opening: Opening,
    handler: H,
    pub(super) places: Arc<Places>,
    /// Connections that were sent a close frame, until they end.
    pub(super) closing: TaskTracker,
}

impl<H: Handler> Shared<H> {
    pub(super) fn new(server: Server, handler: H) -> Self {
        let places = Arc::new(Places::new(&server.flags));
        let (stop, answered) = (CancellationToken::new(), TaskTracker::new());
        let opening = Opening { server, stop, answered };
        Self { opening, handler, places, closing: TaskTracker::new() }
    }

    /// From now on everyone is told that the server stops.
    pub(super) fn stop(&self) {
        self.opening.answered.close();
        // In this order: who is woken looks whether it is closed.
        self.closing.close();
        self.opening.stop.cancel();
    }

    /// One connection, until it ends. This future lives as long as the connection, so it is kept
    /// small: an async block keeps what it was given once, where an `async fn` keeps it twice,
    /// and what is large is boxed for as long as it is needed.
    pub(super) fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        place: Place,
        refusal: Option<Refusal>,
    ) -> impl Future<Output = ()> + Send {
        let span = info_span!("connection", peer = %place.client);
        let shared = Arc::clone(&self);
        let opening = async move { shared.opening.open(stream, place, refusal).await };
        let opening = Box::pin(opening.instrument(span));
        async move {
            let Some(Opened { mut socket, request, place, answered }) = opening.await else {
                return;
            };
            let ended = {
                // The call is within, for it may panic before there is a future.
                let call = AssertUnwindSafe(async { (self.handler)(&mut socket, request).await });
                let mut conversation = pin!(call.catch_unwind());
                let mut stopped = pin!(self.opening.stop.cancelled());
                let (mut first, closing) = (true, &self.closing);
                poll_fn(move |cx| {
                    // To look takes two locks that all connections share: once, and when it is
                    // time. At each wake it was a tenth of what we spend on a delivery.
                    let looks = take(&mut first) || closing.is_closed();
                    match looks && stopped.as_mut().poll(cx).is_ready() {
                        true => Poll::Ready(None),
                        false => conversation.as_mut().poll(cx).map(Some),
                    }
                })
                .await
            };
            // Not before: a span that is entered at each wake costs as much as a write saves.
            let span = info_span!("connection", peer = %place.client);
            let frame = match ended {
                None => Some(close_frame(CloseCode::Away, "the server shuts down")),
                Some(Ok(result)) => span.in_scope(|| frame_for(result)),
                // The panic hook has logged it.
                Some(Err(_)) => Some(handler_failed()),
            };
            if let Some(on_close) = &self.opening.server.on_close {
                let ours = frame.as_ref().map_or(1006, |frame| frame.code.into());
                let theirs =
                    socket.closed().map(|frame| frame.map_or(1005, |frame| frame.code.into()));
                on_close(theirs.unwrap_or(ours));
            }
            if let Some(frame) = frame {
                let farewell = close(&mut socket, frame, self.opening.server.flags.close_timeout);
                let mut farewell = Box::pin(farewell.instrument(span));
                let closing = self.closing.token();
                // The first poll sends the close frame, if there is room for it: told.
                let ended = farewell.as_mut().now_or_never();
                drop(answered);
                if ended.is_none() {
                    farewell.await;
                }
                drop(closing);
            }
            drop(place);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]
mod tests {
    use futures_util::future::BoxFuture;
    use tokio::net::TcpListener;
    use tokio_tungstenite::MaybeTlsStream;

    use super::*;
    use crate::server::{Flags, Request};
    use crate::{Result, Socket};

    #[tokio::test]
    async fn what_an_idle_connection_keeps_in_memory_is_small() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap();
        let connect = async || TcpStream::connect(peer).await.unwrap();
        fn handler(_: &mut Socket, _: Request) -> BoxFuture<'_, Result<()>> {
            Box::pin(async { Ok(()) })
        }
        let server = Server::new(Flags::default());
        let shared = Arc::new(Shared::new(server, handler));
        let (place, _) = shared.places.take(peer);

        let stream = MaybeTlsStream::Plain(connect().await);
        let socket_size = size_of_val(&*shared.opening.socket(stream, &[]));
        let connection = shared.clone().connection(connect().await, place, None);
        println!("socket {socket_size}, connection {}", size_of_val(&connection));

        // The socket: tungstenite's state (256), what comes in and goes out (104), the keepalive's
        // (136), and the TCP stream (40), whose size is the system's affair.
        assert!(socket_size <= 496 + size_of::<TcpStream>());
        // The connection: what it was given, the wait for its first byte or for the end of the
        // server (96), the handler's future, boxed, or the farewell, boxed, and how the
        // conversation ended. tokio's task adds 112, and rounds up to a multiple of 128.
        assert!(size_of_val(&connection) <= 272);
        // Beside them a connection has tungstenite's read buffer (64), tokio's registration of
        // the descriptor (256), the keepalive's timer (112) and wakers (72), and the handler's
        // future (counter: 288).
    }
}
