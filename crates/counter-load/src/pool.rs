//! All clients, on one thread and one poll.
//!
//! No runtime: a task for each client would be woken, scheduled and polled for each read, and
//! what the load client spends on that it cannot spend on keeping ahead of the server.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::Result;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::bar::Bar;
use crate::client::{Client, Inbox, Stage};
use crate::clock::{self, micros};
use crate::target::Target;

/// How many connections are in the making at once: fewer than any server's backlog.
const CONNECTING: usize = 64;

/// How long everything may stand still before we give up.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The longest wait in a poll: how soon Ctrl-C is obeyed and the bar moves.
const TURN: Duration = Duration::from_millis(100);

/// The token of the waker; clients have their index.
const WAKER: Token = Token(usize::MAX);

/// The clients.
pub struct Crowd {
    /// Each of them.
    pub clients: Vec<Client>,
    /// How many have heard users and state.
    pub open: usize,
    /// How long it took until all had.
    pub connected: Duration,
    /// How long it took until all had heard of all; `None` if that never came.
    pub told: Option<Duration>,
    /// When the wait of the last turn was over.
    pub now: u64,
    /// Ends a turn's wait.
    pub waker: Arc<Waker>,
    /// When anything was ready last.
    busy: u64,
    /// Since when this program has not been stopped.
    awake: u64,
    inbox: Inbox,
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
            open: 0,
            connected: Duration::ZERO,
            told: None,
            now: 0,
            waker,
            busy: 0,
            awake: 0,
            inbox: Inbox::new(),
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
        (self.now, self.busy) = (clock::now(), clock::now());

        while self.open < count && !stop.load(Ordering::Relaxed) {
            while self.clients.len() < count.min(self.open + CONNECTING) {
                let Some((target, address)) = servers.next() else { break };
                let stream = TcpStream::connect(*address);
                let stream = stream.map_err(|error| target.explain(&error))?;
                self.add(Arc::clone(target), stream)?;
            }
            self.turn(nobody)?;
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
                self.turn(nobody)?;
            }
        }
        Ok(())
    }

    /// Waits until something is ready, and does it. `hear` gets the values that one client was
    /// told and when, as soon as its reads are done.
    pub fn turn(
        &mut self,
        mut hear: impl FnMut(&mut [Client], usize, &[i64], u64) -> Result<()>,
    ) -> Result<()> {
        let polled = self.poll.poll(&mut self.events, Some(TURN));
        let before = std::mem::replace(&mut self.now, clock::now());
        // A turn is not so long unless we were stopped, or the whole machine.
        if self.now - before > micros(10 * TURN) {
            self.awake = self.now;
        }
        match polled {
            // A signal. What was ready before that is not to be done once more.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for ready in &self.events {
            let Token(who) = ready.token();
            let Some(client) = self.clients.get_mut(who) else { continue };
            self.busy = self.now;
            let done = client.ready(ready, &mut self.inbox);
            // What was said before a connection failed was said.
            if !self.inbox.values.is_empty() {
                hear(&mut self.clients, who, &self.inbox.values, self.inbox.at)?;
            }
            done?;
        }
        Ok(())
    }

    /// Whether `then` is so long ago that we give up, and we could have heard since.
    pub fn too_long_ago(&self, then: u64) -> bool {
        self.now.saturating_sub(then.max(self.awake)) > micros(PATIENCE)
    }

    /// Whether nothing has come for too long.
    fn stalled(&self) -> bool {
        self.too_long_ago(self.busy)
    }

    /// Closes all connections with 1000 and waits for the ends, within bounds.
    pub fn close(&mut self) {
        for client in &mut self.clients {
            client.close();
        }
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && self.clients.iter().any(|c| c.stage != Stage::Closed) {
            // A connection that fails has ended, too.
            _ = self.turn(nobody);
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

/// Nobody wants to know the values.
pub fn nobody(_clients: &mut [Client], _who: usize, _values: &[i64], _at: u64) -> Result<()> {
    Ok(())
}
