//! All clients, on one thread and one poll.
//!
//! No runtime: a task for each client would be woken, scheduled and polled for each read, and
//! what the load client spends on that it cannot spend on keeping ahead of the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::Result;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::bar::Bar;
use crate::client::{Client, Stage};
use crate::target::Target;

/// How many connections are in the making at once: fewer than any server's backlog.
const CONNECTING: usize = 64;

/// How long everything may stand still before we give up.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The longest wait in a poll: how soon Ctrl-C is obeyed and the bar moves.
const TURN: Duration = Duration::from_millis(100);

/// The token of the waker; clients have their index.
const WAKER: Token = Token(usize::MAX);

/// What all clients have in common.
pub struct Shared {
    /// When they began; times are microseconds since then.
    pub clock: Instant,
    /// Where they read, one at a time: enough for thousands of frames, so that one read empties a
    /// socket.
    pub buffer: Vec<u8>,
}

impl Shared {
    /// The time.
    pub fn now(&self) -> u64 {
        self.clock.elapsed().as_micros() as u64
    }
}

/// Who hears the values.
pub trait Listener {
    /// Client `who` was told `value` at `now`.
    fn hear(&mut self, who: usize, value: i64, now: u64);

    /// One client's reads are done.
    fn after(&mut self, clients: &mut [Client], shared: &Shared) -> Result<()>;
}

/// Nobody listens.
impl Listener for () {
    fn hear(&mut self, _who: usize, _value: i64, _now: u64) {}

    fn after(&mut self, _clients: &mut [Client], _shared: &Shared) -> Result<()> {
        Ok(())
    }
}

/// The clients.
pub struct Crowd {
    /// Each of them.
    pub clients: Vec<Client>,
    /// What they have in common.
    pub shared: Shared,
    /// How many have heard users and state.
    pub open: usize,
    /// How long it took until all had.
    pub connected: Duration,
    /// How long it took until all had heard of all; `None` if that never came.
    pub told: Option<Duration>,
    /// When anything was ready last.
    pub busy: u64,
    /// Ends a turn's wait.
    pub waker: Arc<Waker>,
    targets: Vec<Arc<Target>>,
    poll: Poll,
    events: Events,
}

impl Crowd {
    /// Nobody yet.
    pub fn new(targets: Vec<Target>) -> Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            clients: Vec::new(),
            shared: Shared { clock: Instant::now(), buffer: vec![0; 256 << 10] },
            open: 0,
            connected: Duration::ZERO,
            told: None,
            busy: 0,
            waker,
            targets: targets.into_iter().map(Arc::new).collect(),
            poll,
            events: Events::with_capacity(1024),
        })
    }

    /// Connects `count` clients; fewer when `stop` is set.
    pub fn connect(&mut self, count: u32, stop: &AtomicBool) -> Result<()> {
        let bar = Bar::new("connecting", u64::from(count));
        let (count, started) = (count as usize, Instant::now());
        // The first one at each server finds out which of the host's addresses answers.
        let mut servers = Vec::new();
        for target in self.targets.clone().into_iter().take(count) {
            let (first, address) = target.first_connection()?;
            first.set_nonblocking(true)?;
            self.add(Arc::clone(&target), TcpStream::from_std(first))?;
            servers.push((target, address));
        }
        // The others are dealt out in turn.
        let mut servers = servers.iter().cycle();
        self.busy = self.shared.now();

        while self.open < count && !stop.load(Ordering::Relaxed) {
            while self.clients.len() < count.min(self.open + CONNECTING) {
                let Some((target, address)) = servers.next() else { break };
                let stream = TcpStream::connect(*address);
                let stream = stream.map_err(|error| target.explain(&error))?;
                self.add(Arc::clone(target), stream)?;
            }
            self.turn(&mut ())?;
            self.open = self.clients.iter().filter(|client| client.stage == Stage::Open).count();
            bar.at(self.open as u64);
            if self.stalled()
                && let Some(waits) = self.clients.iter().find(|client| client.stage != Stage::Open)
            {
                let why = format!("it said nothing for {} s", PATIENCE.as_secs());
                return Err(waits.target.no_counter(&why));
            }
        }
        self.connected = started.elapsed();

        // Otherwise what a slow server still has to say about users would be in the figures.
        while self.told.is_none() && !stop.load(Ordering::Relaxed) && !self.stalled() {
            if self.clients.iter().all(|client| client.users >= count as u64) {
                self.told = Some(started.elapsed());
            } else {
                self.turn(&mut ())?;
            }
        }
        Ok(())
    }

    /// Waits until something is ready, and does it.
    pub fn turn(&mut self, listener: &mut impl Listener) -> Result<()> {
        if let Err(error) = self.poll.poll(&mut self.events, Some(TURN)) {
            // Ctrl-C.
            return if error.kind() == std::io::ErrorKind::Interrupted {
                Ok(())
            } else {
                Err(error.into())
            };
        }
        for ready in &self.events {
            let Token(who) = ready.token();
            let Some(client) = self.clients.get_mut(who) else { continue };
            self.busy = self.shared.now();
            client.ready(ready, &mut self.shared, |value, now| listener.hear(who, value, now))?;
            listener.after(&mut self.clients, &self.shared)?;
        }
        Ok(())
    }

    /// Whether nothing has come for too long.
    pub fn stalled(&self) -> bool {
        self.shared.now() - self.busy > PATIENCE.as_micros() as u64
    }

    /// Closes all connections with 1000 and waits for the ends, within bounds.
    pub fn close(&mut self) {
        for client in &mut self.clients {
            client.close();
        }
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && self.clients.iter().any(|c| c.stage != Stage::Closed) {
            // A connection that fails has ended, too.
            _ = self.turn(&mut ());
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
