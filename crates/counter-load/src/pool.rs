//! All clients, on one thread and one poll.
//!
//! There is no async runtime, because it would wake, schedule and poll a task for each read. The
//! load client needs this CPU time to stay faster than the server.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::Result;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use serde::Serialize;

use crate::client::{Client, ReadBuffer, Stage};
use crate::progress::progress_bar;
use crate::target::Target;

/// The number of connections that are opened at the same time. The backlog of a server is larger.
const MAX_CONNECTING: usize = 64;

/// The time without any progress after which a run fails.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest wait in one poll. After it, the caller checks for Ctrl-C and moves the progress bar.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// The token of the waker. The token of a client is its index.
const WAKER_TOKEN: Token = Token(usize::MAX);

/// All clients of this program, and the poll that they share.
pub struct ClientPool {
    /// The clients, in the order in which they connected.
    pub clients: Vec<Client>,
    /// The time at which the last poll returned.
    pub polled_at: Instant,
    /// Ends the wait of `poll_once`.
    pub waker: Arc<Waker>,
    /// Set by Ctrl-C.
    stop: Arc<AtomicBool>,
    /// The time at which a client was last ready.
    last_ready: Instant,
    /// The time since which this program has run without being stopped.
    running_since: Instant,
    read_buffer: ReadBuffer,
    poll: Poll,
    events: Events,
}

/// How long it took to connect. The report in JSON has the same field names.
#[derive(Default, Serialize)]
pub struct Connect {
    /// The time until all clients had received `users` and `state`.
    pub seconds: f64,
    pub per_second: f64,
    /// The time until all clients had received the full user count.
    pub told_seconds: Option<f64>,
}

impl ClientPool {
    /// A pool without clients. Its runs end early when `stop` is set.
    pub fn new(stop: Arc<AtomicBool>) -> Result<Self> {
        let poll = Poll::new()?;
        let now = Instant::now();
        Ok(Self {
            clients: Vec::new(),
            polled_at: now,
            waker: Arc::new(Waker::new(poll.registry(), WAKER_TOKEN)?),
            stop,
            last_ready: now,
            running_since: now,
            read_buffer: ReadBuffer::new(),
            poll,
            events: Events::with_capacity(1024),
        })
    }

    /// Whether Ctrl-C has ended the run.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The number of clients that have received `users` and `state`.
    pub fn open(&self) -> usize {
        self.clients.iter().filter(|client| client.value.is_some()).count()
    }

    /// Connects `count` clients, or fewer if Ctrl-C ends the run meanwhile.
    pub fn connect(&mut self, targets: Vec<Target>, count: usize) -> Result<Connect> {
        let bar = progress_bar("connecting", count as u64);
        let started = Instant::now();
        // The first client of each server finds an address of the host that accepts connections.
        let mut servers = Vec::new();
        for target in targets.into_iter().map(Arc::new).take(count) {
            let (first, address) = target.first_connection()?;
            first.set_nonblocking(true)?;
            self.add(Arc::clone(&target), TcpStream::from_std(first))?;
            servers.push((target, address));
        }
        // The other clients are spread evenly over the servers.
        let mut servers = servers.iter().cycle();
        (self.polled_at, self.last_ready) = (Instant::now(), Instant::now());

        let mut open = 0;
        while open < count && !self.is_stopped() {
            while self.clients.len() < count.min(open + MAX_CONNECTING) {
                let Some((target, address)) = servers.next() else { break };
                let stream = TcpStream::connect(*address);
                let stream = stream.map_err(|error| target.connect_error(&error))?;
                self.add(Arc::clone(target), stream)?;
            }
            self.poll_once(|_, _, _| Ok(()))?;
            open = self.open();
            bar.set_position(open as u64);
            if self.is_stalled()
                && let Some(client) = self.clients.iter().find(|client| client.value.is_none())
            {
                let reason = format!("it sent nothing for {} s", STALL_TIMEOUT.as_secs());
                return Err(client.target.not_a_counter_error(&reason));
            }
        }
        let seconds = started.elapsed().as_secs_f64();

        // Wait for the full user count, because a slow server may still send `users` events, and
        // these would distort the measurement.
        let mut told_seconds = None;
        while told_seconds.is_none() && !self.is_stopped() && !self.is_stalled() {
            if self.clients.iter().all(|client| client.users >= Some(count)) {
                told_seconds = Some(started.elapsed().as_secs_f64());
            } else {
                self.poll_once(|_, _, _| Ok(()))?;
            }
        }
        Ok(Connect { seconds, per_second: open as f64 / seconds, told_seconds })
    }

    /// Waits until some clients are ready, and lets them read and write. `on_values` receives the
    /// clients, the index of one of them, and the values that this client has just received.
    pub fn poll_once(
        &mut self,
        mut on_values: impl FnMut(&mut [Client], usize, &ReadBuffer) -> Result<()>,
    ) -> Result<()> {
        let polled = self.poll.poll(&mut self.events, Some(POLL_TIMEOUT));
        let before = std::mem::replace(&mut self.polled_at, Instant::now());
        // A poll takes so long only if this program was stopped, or the whole machine.
        if self.polled_at - before > 10 * POLL_TIMEOUT {
            self.running_since = self.polled_at;
        }
        match polled {
            // A signal ended the poll. `events` still holds the clients of the poll before.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for ready in &self.events {
            let Token(index) = ready.token();
            let Some(client) = self.clients.get_mut(index) else { continue };
            self.last_ready = self.polled_at;
            let result = client.handle_ready(ready.is_read_closed(), &mut self.read_buffer);
            // Values that arrived before a connection failed count, too.
            if !self.read_buffer.values.is_empty() {
                on_values(&mut self.clients, index, &self.read_buffer)?;
            }
            result?;
        }
        Ok(())
    }

    /// Whether the stall timeout has passed since `then`. Time in which this program was stopped
    /// does not count.
    pub fn has_timed_out_since(&self, then: Instant) -> bool {
        self.polled_at.duration_since(then.max(self.running_since)) > STALL_TIMEOUT
    }

    /// Whether no client was ready for the stall timeout.
    fn is_stalled(&self) -> bool {
        self.has_timed_out_since(self.last_ready)
    }

    /// Closes all connections with 1000, and waits for their ends, but not longer than the timeout.
    pub fn close(&mut self) {
        self.clients.iter_mut().for_each(Client::close);
        let until = Instant::now() + STALL_TIMEOUT;
        while Instant::now() < until && self.clients.iter().any(|c| c.stage != Stage::Closed) {
            // Ignore a connection that fails, because it has ended, too.
            _ = self.poll_once(|_, _, _| Ok(()));
        }
    }

    fn add(&mut self, target: Arc<Target>, mut stream: TcpStream) -> Result<()> {
        let token = Token(self.clients.len());
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, token, both)?;
        self.clients.push(Client::new(target, stream));
        Ok(())
    }
}
