//! Listens, accepts and shuts down.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::connection::Shared;
use super::signals::signals;
use super::{Handler, Server, listen};
use crate::Result;
use crate::text::say;

/// How many connections over the limit are told so at once; those beyond are dropped.
const REFUSED_AT_ONCE: usize = 64;

impl Server {
    /// Listens and runs `handler` for each connection, until SIGINT or SIGTERM.
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
        let mut addresses = Vec::new();
        for listener in listeners {
            let address = listener.local_addr()?;
            say(&format!("listening on ws{s}://{address}"));
            addresses.push(address);
        }
        if self.page.is_some()
            && let Some(first) = addresses.first()
        {
            // 0.0.0.0 is an address to listen on, not to open.
            let host = if first.ip().is_unspecified() { "localhost" } else { self.flags.host() };
            say(&format!("open http{s}://{host}:{}/ in a browser", first.port()));
        }
        Ok(())
    }

    /// The same on listeners that are bound already, until `stop` is cancelled. Returns when
    /// every conversation has ended, `close_timeout` after `stop` at the latest.
    pub async fn run(
        self,
        listeners: Vec<TcpListener>,
        handler: impl Handler,
        stop: CancellationToken,
    ) {
        let close_timeout = self.flags.close_timeout;
        let max_connections = self.flags.max_connections.min(Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared::new(self, handler, stop));
        let places = Arc::new(Semaphore::new(max_connections));
        let refused = Arc::new(Semaphore::new(REFUSED_AT_ONCE));
        for listener in listeners {
            let places = [Arc::clone(&places), Arc::clone(&refused)];
            tokio::spawn(accept(listener, Arc::clone(&shared), places));
        }
        shared.stop.cancelled().await;
        shared.answered.close();
        if timeout(close_timeout, shared.answered.wait()).await.is_err() {
            debug!("{} peers did not close in time", shared.answered.len());
        }
    }
}

async fn accept<H: Handler>(
    listener: TcpListener,
    shared: Arc<Shared<H>>,
    places: [Arc<Semaphore>; 2],
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&shared, &places, stream, peer),
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

fn admit<H: Handler>(
    shared: &Arc<Shared<H>>,
    [places, refused]: &[Arc<Semaphore>; 2],
    stream: TcpStream,
    peer: SocketAddr,
) {
    let (permit, is_full) = match Arc::clone(places).try_acquire_owned() {
        Ok(place) => (place, false),
        Err(_) => match Arc::clone(refused).try_acquire_owned() {
            Ok(place) => (place, true),
            Err(_) => return debug!("too many connections: {peer} was dropped"),
        },
    };
    // Nagle's algorithm would hold a close frame back until the greeting before it is
    // acknowledged: 44 ms a conversation.
    _ = stream.set_nodelay(true);
    tokio::spawn(Arc::clone(shared).connection(stream, peer, is_full, permit));
}

fn is_of_one_peer(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}
