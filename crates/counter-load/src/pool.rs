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

use crate::client::{Client, ReadBuffer, Stage};
use crate::clock::{self, micros};
use crate::progress::ProgressBar;
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
    /// The number of clients that have received `users` and `state`.
    pub open: usize,
    /// The time until all clients had received `users` and `state`.
    pub connected_after: Duration,
    /// The time until all clients had received the full user count. `None` if some never did.
    pub full_count_after: Option<Duration>,
    /// The time at which the last poll returned.
    pub polled_at: u64,
    /// Ends the wait of `poll_once`.
    pub waker: Arc<Waker>,
    /// The time at which a client was last ready.
    last_ready: u64,
    /// The time since which this program has run without being stopped.
    running_since: u64,
    read_buffer: ReadBuffer,
    targets: Vec<Arc<Target>>,
    poll: Poll,
    events: Events,
}

impl ClientPool {
    /// A pool without clients.
    pub fn new(targets: Vec<Target>) -> Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER_TOKEN)?);
        Ok(Self {
            clients: Vec::new(),
            open: 0,
            connected_after: Duration::ZERO,
            full_count_after: None,
            polled_at: 0,
            waker,
            last_ready: 0,
            running_since: 0,
            read_buffer: ReadBuffer::new(),
            targets: targets.into_iter().map(Arc::new).collect(),
            poll,
            events: Events::with_capacity(1024),
        })
    }

    /// Connects `count` clients, or fewer if `stop` is set meanwhile.
    pub fn connect(&mut self, count: u32, stop: &AtomicBool) -> Result<()> {
        let bar = ProgressBar::new("connecting", u64::from(count));
        let (count, started) = (count as usize, Instant::now());
        // The first client of each server finds an address of the host that accepts connections.
        let mut servers = Vec::new();
        for target in self.targets.clone().into_iter().take(count) {
            let (first, address) = target.first_connection()?;
            first.set_nonblocking(true)?;
            self.add(Arc::clone(&target), TcpStream::from_std(first))?;
            servers.push((target, address));
        }
        // The other clients are spread evenly over the servers.
        let mut servers = servers.iter().cycle();
        (self.polled_at, self.last_ready) = (clock::now(), clock::now());

        while self.open < count && !stop.load(Ordering::Relaxed) {
            while self.clients.len() < count.min(self.open + MAX_CONNECTING) {
                let Some((target, address)) = servers.next() else { break };
                let stream = TcpStream::connect(*address);
                let stream = stream.map_err(|error| target.connect_error(&error))?;
                self.add(Arc::clone(target), stream)?;
            }
            self.poll_once(ignore_values)?;
            self.open = self.clients.iter().filter(|client| client.stage == Stage::Open).count();
            bar.set_position(self.open as u64);
            if self.is_stalled()
                && let Some(client) = self.clients.iter().find(|client| client.stage != Stage::Open)
            {
                let reason = format!("it sent nothing for {} s", STALL_TIMEOUT.as_secs());
                return Err(client.target.not_a_counter_error(&reason));
            }
        }
        self.connected_after = started.elapsed();

        // Wait for the full user count, because a slow server may still send `users` events, and
        // these would distort the measurement.
        while self.full_count_after.is_none() && !stop.load(Ordering::Relaxed) && !self.is_stalled()
        {
            if self.clients.iter().all(|client| client.users >= count as u64) {
                self.full_count_after = Some(started.elapsed());
            } else {
                self.poll_once(ignore_values)?;
            }
        }
        Ok(())
    }

    /// Waits until some clients are ready, and lets them read and write. `on_values` receives the
    /// index of a client, the values that this client has just received, and the time.
    pub fn poll_once(
        &mut self,
        mut on_values: impl FnMut(&mut [Client], usize, &[i64], u64) -> Result<()>,
    ) -> Result<()> {
        let polled = self.poll.poll(&mut self.events, Some(POLL_TIMEOUT));
        let before = std::mem::replace(&mut self.polled_at, clock::now());
        // A poll takes so long only if this program was stopped, or the whole machine.
        if self.polled_at - before > micros(10 * POLL_TIMEOUT) {
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
            let result = client.handle_ready(ready, &mut self.read_buffer);
            // Values that arrived before a connection failed count, too.
            let ReadBuffer { values, received_at, .. } = &self.read_buffer;
            if !values.is_empty() {
                on_values(&mut self.clients, index, values, *received_at)?;
            }
            result?;
        }
        Ok(())
    }

    /// Whether the stall timeout has passed since `then`. Time in which this program was stopped
    /// does not count.
    pub fn has_timed_out_since(&self, then: u64) -> bool {
        self.polled_at.saturating_sub(then.max(self.running_since)) > micros(STALL_TIMEOUT)
    }

    /// Whether no client was ready for the stall timeout.
    fn is_stalled(&self) -> bool {
        self.has_timed_out_since(self.last_ready)
    }

    /// Closes all connections with 1000, and waits for their ends, but not longer than the timeout.
    pub fn close(&mut self) {
        for client in &mut self.clients {
            client.close();
        }
        let until = Instant::now() + STALL_TIMEOUT;
        while Instant::now() < until && self.clients.iter().any(|c| c.stage != Stage::Closed) {
            // Ignore a connection that fails, because it has ended, too.
            _ = self.poll_once(ignore_values);
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

/// An `on_values` for callers that do not need the values.
pub fn ignore_values(
    _clients: &mut [Client],
    _index: usize,
    _values: &[i64],
    _received_at: u64,
) -> Result<()> {
    Ok(())
}
