//! The life of one connection, from its first byte to its last: it is accepted, the handler runs,
//! and it is closed.

use std::future::poll_fn;
use std::mem::take;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join, maybe_done};
use tokio::time::timeout;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Instrument, info_span, warn};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use super::accept::Accepted;
use super::running::Running;
use crate::Result;
use crate::catch::catch;
use crate::socket::{Connection, close_frame, close_frame_for, handler_failed};

/// One connection, until it ends. `accepting` does TLS and the HTTP request.
///
/// This future lives as long as the connection, so it is kept small. Everything large is boxed for
/// as long as it is needed.
#[expect(clippy::manual_async_fn, reason = "an `async fn` would store its arguments twice")]
pub(super) fn run_connection(
    running: Arc<Running>,
    accepting: BoxFuture<'static, Option<Accepted>>,
) -> impl Future<Output = ()> + Send {
    async move {
        let Some(Accepted { mut socket, request, permit, awaiting_shutdown_notice }) =
            accepting.await
        else {
            return;
        };
        let connection = socket.connection();
        let mut handler = catch(|| (running.handler)(&mut socket, request));
        let mut ended = {
            let mut stop = pin!(running.stop.cancelled());
            let mut is_first = true;
            let ended = poll_fn(|cx| {
                // Checking takes two locks that all connections share, so we check only on
                // the first poll and once the server is stopping. At each wake-up, it was a
                // tenth of our own time for a delivery.
                let must_check = take(&mut is_first) || running.closing.is_closed();
                match must_check && stop.as_mut().poll(cx).is_ready() {
                    true => Poll::Ready(Ended::ByShutdown),
                    false => poll_handler(&mut handler, cx),
                }
            });
            ended.await
        };
        // At a shutdown, the handler finishes its work while the connection closes.
        if !matches!(ended, Ended::ByShutdown) && catch(|| drop(handler.take())).is_none() {
            // A value that the handler owned has panicked in its `drop`.
            ended = Ended::Panicked;
        }
        let end = end(&running, &connection, ended, &mut handler, awaiting_shutdown_notice);
        Box::pin(end).await;
        drop(permit);
    }
}

type RunningHandler<'a> = BoxFuture<'a, Result<()>>;

/// The end of a connection: its closing handshake, and at a shutdown also the rest of its handler.
async fn end(
    running: &Running,
    connection: &Connection,
    ended: Ended,
    handler: &mut Option<RunningHandler<'_>>,
    awaiting_shutdown_notice: TaskTrackerToken,
) {
    // Not earlier: a span that is entered at each wake-up costs as much as a write saves.
    let span = info_span!("connection", peer = connection.remote_address().map(display));
    let frame = span.in_scope(|| match ended {
        // The handler's error may panic when it is displayed.
        Ended::Returned(result) => {
            catch(|| close_frame_for(result)).unwrap_or_else(|| Some(handler_failed()))
        }
        Ended::Panicked => Some(handler_failed()),
        Ended::ByShutdown => Some(close_frame(CloseCode::Away, "server is shutting down")),
    });
    report_close(running, connection, frame.as_ref());
    // A client that has closed gets its answer, even if the handler saw an error.
    let answer = || connection.closed().map(|_| close_frame(CloseCode::Normal, ""));
    let Some(frame) = frame.or_else(answer) else { return };
    // A shutdown waits for this, too.
    let _closing = running.closing.token();
    let close = connection.close(frame, running.server.flags.close_timeout);
    let mut close = pin!(maybe_done(close.instrument(span)));
    // The first poll sends the close frame, if there is room for it.
    close.as_mut().now_or_never();
    drop(awaiting_shutdown_notice);
    let finish = async {
        if handler.is_some() && timeout(running.close_wait(), finish(handler)).await.is_err() {
            warn!("the handler did not finish within close_timeout and is dropped");
        }
        catch(|| drop(handler.take()));
    };
    // In this order, so that the closing handshake is the one that the connection wakes up.
    join(finish, close).await;
}

/// How a handler ended.
enum Ended {
    Returned(Result<()>),
    /// The panic hook has logged it.
    Panicked,
    /// The server shuts down. What the handler returns after that makes no difference.
    ByShutdown,
}

fn poll_handler(handler: &mut Option<RunningHandler<'_>>, cx: &mut Context<'_>) -> Poll<Ended> {
    match handler.as_mut().and_then(|handler| catch(|| handler.as_mut().poll(cx))) {
        Some(poll) => poll.map(Ended::Returned),
        None => Poll::Ready(Ended::Panicked),
    }
}

/// Lets a handler finish its work after the client was sent 1001.
async fn finish(handler: &mut Option<RunningHandler<'_>>) {
    if let Ended::Returned(result) = poll_fn(|cx| poll_handler(handler, cx)).await {
        // Logs an error of the handler's own.
        catch(|| close_frame_for(result));
    }
}

/// Calls the program's `on_close` with the close code.
fn report_close(running: &Running, connection: &Connection, frame: Option<&CloseFrame>) {
    let Some(on_close) = &running.server.on_close else { return };
    let ours = frame.map_or(1006, |frame| frame.code.into());
    let theirs = connection.closed().map(|frame| frame.map_or(1005, |frame| frame.code.into()));
    catch(|| on_close(theirs.unwrap_or(ours)));
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::either::Either;
    use tungstenite::protocol::Role;

    use super::*;
    use crate::server::{Flags, Handler, Server};
    use crate::{Options, Socket};

    #[tokio::test]
    async fn an_idle_connection_is_small() {
        async fn handler(_: &mut Socket) -> Result<()> {
            Ok(())
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap();
        let stream = Either::Left(TcpStream::connect(peer).await.unwrap());
        let socket = Socket::on(stream, &[], Role::Server, Options::default(), None, Some(peer));
        let socket_size = size_of_val(&*socket.connection());
        let running = Running::new(Server::new(Flags::default()), handler.boxed(()));
        let connection = run_connection(running, Box::pin(async { None }));
        println!("socket {socket_size}, connection {}", size_of_val(&connection));

        // The socket: tungstenite's state (256), the bytes that come in and go out (152), the
        // keepalive (136), the peer's address (32), and the TCP stream, whose size depends on the
        // system.
        assert!(socket_size <= 576 + size_of::<TcpStream>());
        // The connection: its captures, the wait for its first byte or for the shutdown (96), the
        // handler's future, boxed, or the closing handshake, boxed, and how the handler ended.
        // tokio's task adds 112, and rounds up to a multiple of 128.
        assert!(size_of_val(&connection) <= 256);
        // In addition a connection has tokio's registration of the descriptor (256), the
        // keepalive's timer (112) and wakers (72), and the handler's future (counter: 288).
        // tungstenite's read buffer (64) is made for the first control frame.
    }
}
