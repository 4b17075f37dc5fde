//! Listens, accepts connections, and shuts down.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use scopeguard::defer;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::sleep;
use tracing::{Instrument, info, info_span, warn};

use super::accept::accept;
use super::connection::run_connection;
use super::handler::Handler;
use super::listener::Listener;
use super::running::Running;
use super::{Server, origin, signals, with};
use crate::socket::limit_unsent;
use crate::{Result, print_line};

/// How many rejected connections of a listener are handled at once. One more, and the oldest is
/// dropped. A client that sends its request at once has its response by then, no matter how many
/// others send nothing.
const MAX_PENDING_REJECTIONS: usize = 64;

/// The time from a signal to the end of the program, in any case. `docker stop` kills a program
/// after 10 s.
const MAX_SHUTDOWN: Duration = Duration::from_millis(8500);

impl Server {
    /// Listens on the address of the [`Flags`](crate::Flags) and runs `handler` for each
    /// connection, until SIGINT, SIGTERM or SIGHUP; on Windows until Ctrl-C, Ctrl-Break, or the end
    /// of the console or of the session.
    ///
    /// Then it sends 1001 to every client. In the handlers [`recv`](crate::Socket::recv) returns
    /// `None`, `send` fails, and each handler has the time of `--close-timeout`, 6 s at most, to
    /// finish its work. After that it is dropped. On Unix the program exits with status 0 8.5 s
    /// after the signal, whatever still runs, because a handler may block a thread. If you drop the future of `serve` itself, its
    /// connections end in the same way.
    ///
    /// ```no_run
    /// use websockets::{Flags, Result, Server, Socket};
    ///
    /// async fn echo(socket: &mut Socket) -> Result<()> {
    ///     while let Some(message) = socket.recv().await? {
    ///         socket.send(message).await?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<()> {
    /// Server::new(Flags::default()).serve(echo).await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// One sentence, if it cannot listen.
    pub async fn serve<A>(mut self, handler: impl Handler<(), A>) -> Result<()> {
        signals::exit_within(MAX_SHUTDOWN)?;
        let signal = signals::signals()?;
        let stop = async {
            signal.await;
            info!("shutting down; a second signal ends at once");
        };
        let mut listeners = Listener::inherited()?;
        let is_inherited = !listeners.is_empty();
        if is_inherited {
            let address = listeners.iter().find_map(Listener::tcp_address);
            self.flags.address = address.map_or_else(String::new, |tcp| match tcp.ip() {
                // All addresses of this machine. Browsers use the host of the command line.
                ip if ip.is_unspecified() => format!("{}:{}", self.flags.host(), tcp.port()),
                _ => tcp.to_string(),
            });
        } else {
            listeners = Listener::bind(&self.flags.address).await?;
        }
        self.announce(&listeners)?;
        self.run(listeners, is_inherited, handler, stop).await;
        Ok(())
    }

    /// Like [`serve`](Self::serve), and passes a clone of `state` to each call of `handler`. The
    /// state is usually an `Arc`.
    ///
    /// # Errors
    ///
    /// One sentence, if it cannot listen.
    pub async fn serve_with<S, A>(self, state: S, handler: impl Handler<S, A>) -> Result<()>
    where
        S: Send + Sync + 'static,
    {
        self.serve(with(state, handler)).await
    }

    /// Like [`serve`](Self::serve), on listeners of your own and until `stop` completes. It prints
    /// nothing. To pass a state, use [`with`]. Returns when every connection has
    /// ended, or its time is over.
    pub async fn serve_on<A>(
        self,
        listeners: Vec<TcpListener>,
        handler: impl Handler<(), A>,
        stop: impl Future<Output = ()>,
    ) {
        let listeners = listeners.into_iter().map(Listener::Tcp).collect();
        self.run(listeners, false, handler, stop).await;
    }

    async fn run<A>(
        mut self,
        listeners: Vec<Listener>,
        is_inherited: bool,
        handler: impl Handler<(), A>,
        stop: impl Future<Output = ()>,
    ) {
        self.origins.own = self.own_origins(&listeners);
        let running = Running::new(self, handler.boxed(()));
        // If this future is dropped, the connections end with it.
        defer!(running.begin_shutdown());
        // They accept until the end, so a client that connects during the shutdown receives 503.
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(accept_all(listener, Arc::clone(&running)));
        }
        stop.await;
        if is_inherited {
            // A client that connects now waits for the next process that systemd starts.
            accepting.shutdown().await;
        }
        running.shut_down().await;
        // The port is free when this returns.
        accepting.shutdown().await;
    }

    fn announce(&self, listeners: &[Listener]) -> Result<()> {
        let scheme = if self.is_tls() { "wss" } else { "ws" };
        for listener in listeners {
            print_line(&format!("listening on {}", listener.url(scheme)?));
        }
        if self.page.is_some()
            && let Some(origin) = self.own_origins(listeners).first()
        {
            print_line(&format!("open {origin}/ in a browser"));
        }
        Ok(())
    }

    /// The origins of the page, as a browser sends them: by name, and by each address. A browser
    /// cannot open a Unix socket.
    fn own_origins(&self, listeners: &[Listener]) -> Vec<String> {
        let scheme = if self.is_tls() { "https" } else { "http" };
        let name = self.flags.host();
        let is_name = name.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
        let addresses = listeners.iter().filter_map(Listener::tcp_address);
        let hosts = addresses.flat_map(|address| {
            let by_name = match address.ip() {
                // A server can listen on 0.0.0.0, but a browser cannot open it.
                ip if ip.is_unspecified() => Some("localhost"),
                _ => Some(name).filter(|_| is_name),
            };
            let by_address = match address.ip() {
                IpAddr::V6(ip) => format!("[{ip}]"),
                IpAddr::V4(ip) => ip.to_string(),
            };
            let hosts = by_name.map(str::to_owned).into_iter().chain([by_address]);
            hosts.map(move |host| origin::serialize(scheme, &host, Some(address.port())))
        });
        hosts.collect()
    }
}

/// Accepts connections, and runs each in a task of its own.
async fn accept_all(listener: Listener, running: Arc<Running>) {
    match &listener {
        Listener::Tcp(listener) => limit_unsent(listener),
        #[cfg(unix)]
        Listener::Unix(..) => {}
    }
    let mut pending = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let ip = peer.map(|peer| peer.ip());
                let (permit, rejection) = running.limits.try_acquire(ip);
                let accepting = accept(Arc::clone(&running), stream, peer, permit, rejection)
                    .instrument(info_span!("connection", peer = peer.map(display)));
                let connection = run_connection(Arc::clone(&running), Box::pin(accepting));
                let connection = tokio::spawn(connection);
                if rejection.is_some() {
                    drop_oldest(&mut pending, connection.abort_handle());
                    // Its request may be here already. A flood of others must not overtake it.
                    yield_now().await;
                }
            }
            // The client disconnected between its connect and our accept.
            Err(error) if is_of_one_client(error.kind()) => {}
            Err(error) => {
                // Usually the process has no descriptors left. The connection stays in the queue,
                // and another accept would fail at once.
                warn!("cannot accept: {error}; trying again in 250 ms");
                sleep(Duration::from_millis(250)).await;
            }
        }
    }
}

/// Makes room for one more rejected connection.
fn drop_oldest(pending: &mut VecDeque<AbortHandle>, newest: AbortHandle) {
    pending.retain(|connection| !connection.is_finished());
    pending.push_back(newest);
    if pending.len() > MAX_PENDING_REJECTIONS
        && let Some(oldest) = pending.pop_front()
    {
        oldest.abort();
    }
}

fn is_of_one_client(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}
