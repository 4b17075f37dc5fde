//! Listens, accepts and shuts down.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::connection::Shared;
use super::signals::signals;
use super::{Handler, Server, listen, origin};
use crate::Result;
use crate::text::say;

/// How many connections for which there is no place are heard at once. One more, and the oldest
/// is dropped: who asks at once has an answer by then, however many hold on and say nothing.
const REFUSED_AT_ONCE: usize = 64;

/// How long a stop takes at most until everyone is told. For 10,000 connections it took 0.8 s in a
/// debug build on two cores; longer only where handlers hold the runtime's threads up.
const TELL: Duration = Duration::from_secs(2);

/// How long a stop waits at most for the peers' close frames, where `close_timeout` is longer, as
/// by default. `docker stop` kills after 10 s, and so do others; and a program may have a
/// farewell of its own to say elsewhere.
const LONGEST_WAIT: Duration = Duration::from_secs(6);

impl Server {
    /// Listens and runs `handler` for each connection, until SIGINT, SIGTERM or SIGHUP; on Windows
    /// until Ctrl-C, Ctrl-Break, or the console's or the session's end.
    ///
    /// # Errors
    ///
    /// A sentence when it cannot listen.
    pub async fn serve(self, handler: impl Handler) -> Result<()> {
        let stop = CancellationToken::new();
        tokio::spawn(signals(stop.clone())?);
        let listeners = listen::bind(&self.flags.address).await?;
        self.announce(&listeners)?;
        self.run(listeners, handler, stop).await;
        Ok(())
    }

    fn announce(&self, listeners: &[TcpListener]) -> Result<()> {
        let s = if self.is_tls() { "s" } else { "" };
        for listener in listeners {
            say(&format!("listening on ws{s}://{}", listener.local_addr()?));
        }
        if self.page.is_some()
            && let Some(first) = listeners.first()
        {
            say(&format!("open {}/ in a browser", self.own_origin(first)?));
        }
        Ok(())
    }

    /// The origin of the page, as a browser knows it.
    fn own_origin(&self, listener: &TcpListener) -> Result<String> {
        let address = listener.local_addr()?;
        let told = self.flags.host();
        let host = match (address.ip(), told.trim_matches(['[', ']']).parse::<IpAddr>()) {
            // 0.0.0.0 is an address to listen on, not to open.
            (ip, _) if ip.is_unspecified() => "localhost".to_owned(),
            (IpAddr::V6(ip), Ok(_)) => format!("[{ip}]"),
            (IpAddr::V4(ip), Ok(_)) => ip.to_string(),
            (_, Err(_)) => told.to_owned(),
        };
        let scheme = if self.is_tls() { "https" } else { "http" };
        Ok(origin::of(scheme, &host, Some(address.port())))
    }

    /// The same on listeners that are bound already, until `stop` is cancelled. Then everyone is
    /// told 1001, within 2 s; after that it returns when every conversation has ended,
    /// `close_timeout` or 6 s later at the latest, whichever is less.
    pub async fn run(
        mut self,
        listeners: Vec<TcpListener>,
        handler: impl Handler,
        stop: CancellationToken,
    ) {
        let wait = self.flags.close_timeout.min(LONGEST_WAIT);
        self.origins.own = listeners.first().and_then(|first| self.own_origin(first).ok());
        let shared = Arc::new(Shared::new(self, handler));
        let refused = Arc::new(Mutex::new(VecDeque::new()));
        // Until the end: who comes while the server stops is told so.
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(accept(listener, Arc::clone(&shared), Arc::clone(&refused)));
        }
        stop.cancelled().await;
        shared.stop();
        // First everyone is told, then the wait begins: with a `close_timeout` of 0, too.
        if timeout(TELL, shared.opening.answered.wait()).await.is_err() {
            warn!(
                "{} peers could not be told that the server stops",
                shared.opening.answered.len()
            );
        }
        if timeout(wait, shared.closing.wait()).await.is_err() {
            debug!("{} peers did not close in time", shared.closing.len());
        }
        // The port is free when this returns.
        accepting.shutdown().await;
    }
}

/// Accepts connections, and gives each a task of its own.
async fn accept<H: Handler>(
    listener: TcpListener,
    shared: Arc<Shared<H>>,
    refused: Arc<Mutex<VecDeque<AbortHandle>>>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Nagle's algorithm would hold a close frame back until the greeting before it is
                // acknowledged: 44 ms a conversation.
                _ = stream.set_nodelay(true);
                let (place, refusal) = shared.places.take(peer);
                let connection = Arc::clone(&shared).connection(stream, place, refusal);
                let connection = tokio::spawn(connection);
                if refusal.is_some() {
                    drop_oldest(&mut refused.lock(), connection.abort_handle());
                }
            }
            // The peer left between its connect and our accept.
            Err(error) if is_of_one_peer(error.kind()) => {}
            Err(error) => {
                // Out of descriptors, mostly: the connection stays in the queue, and
                // another accept would fail at once.
                warn!("cannot accept: {error}; trying again in a while");
                sleep(Duration::from_millis(250)).await;
            }
        }
    }
}

/// Makes room for one more of those for whom there is no place.
fn drop_oldest(refused: &mut VecDeque<AbortHandle>, newest: AbortHandle) {
    refused.push_back(newest);
    if refused.len() > REFUSED_AT_ONCE
        && let Some(oldest) = refused.pop_front()
    {
        oldest.abort();
    }
}

fn is_of_one_peer(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}
