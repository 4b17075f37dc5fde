//! What all connections of a running server share.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{info, warn};

use super::Server;
use super::handler::BoxedHandler;
use super::limits::{ConnectionLimits, Rejection};

/// How long a shutdown takes at most until every client was sent 1001. With 10,000 connections it
/// took 0.8 s in a debug build on two cores. It takes longer only if handlers block the runtime's
/// threads.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a shutdown waits at most for handlers and for the clients' close frames, if
/// `close_timeout` is longer, as it is by default. `docker stop` and others kill a program after
/// 10 s, and the program itself may have more to do at its end.
const MAX_CLOSE_WAIT: Duration = Duration::from_secs(6);

/// A running server.
pub(super) struct Running {
    pub(super) server: Server,
    pub(super) handler: BoxedHandler,
    pub(super) limits: Arc<ConnectionLimits>,
    /// Cancelled when the server shuts down.
    pub(super) stop: CancellationToken,
    /// Connections whose client has not been sent 1001 yet.
    pub(super) awaiting_shutdown_notice: TaskTracker,
    /// Connections whose closing handshake has begun.
    pub(super) closing: TaskTracker,
}

impl Running {
    pub(super) fn new(server: Server, handler: BoxedHandler) -> Arc<Self> {
        Arc::new(Self {
            limits: Arc::new(ConnectionLimits::new(&server.flags)),
            server,
            handler,
            stop: CancellationToken::new(),
            awaiting_shutdown_notice: TaskTracker::new(),
            closing: TaskTracker::new(),
        })
    }

    /// A token for a connection whose request was read, and the reason if the request must be
    /// rejected. A client that is accepted during a shutdown is sent 1001, so the token comes first.
    pub(super) fn admit(
        &self,
        rejection: Option<Rejection>,
    ) -> (TaskTrackerToken, Option<Rejection>) {
        let token = self.awaiting_shutdown_notice.token();
        let is_stopping = self.stop.is_cancelled();
        (token, if is_stopping { Some(Rejection::ShuttingDown) } else { rejection })
    }

    /// How long a shutdown waits for handlers and close frames.
    pub(super) fn close_wait(&self) -> Duration {
        self.server.flags.close_timeout.min(MAX_CLOSE_WAIT)
    }

    /// Tells every connection that the server shuts down.
    pub(super) fn begin_shutdown(&self) {
        self.awaiting_shutdown_notice.close();
        // In this order, because a connection that wakes up checks whether `closing` is closed.
        self.closing.close();
        self.stop.cancel();
    }

    /// Sends 1001 to every client, waits for handlers and close frames, and returns.
    pub(super) async fn shut_down(&self) {
        self.begin_shutdown();
        // Every client is notified before the wait begins, even with a `close_timeout` of 0.
        let notified = self.awaiting_shutdown_notice.wait();
        if timeout(NOTIFY_TIMEOUT, notified).await.is_err() {
            let clients = self.awaiting_shutdown_notice.len();
            warn!("shutting down: {clients} clients did not take their close frame in time");
        }
        if timeout(self.close_wait(), self.closing.wait()).await.is_err() {
            info!("shutting down: {} connections did not end in time", self.closing.len());
        }
    }
}
