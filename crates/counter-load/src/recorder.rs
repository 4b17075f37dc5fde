//! Every click and what became of it.
//!
//! All clicks of a run go the same way, up or down, so a value says which click it is of: the
//! first one's is `base + step`, and so on. Clicks of several senders that are under way at once
//! may overtake one another, and nothing on the wire says whose click made a value. The n-th value
//! is booked for the n-th click that was sent: that leaves the mean latency exact, and shifts the
//! others by no more than the clicks overtook one another.

use std::collections::VecDeque;

use common::Result;
use hdrhistogram::Histogram;

/// What to do when a value came that is of no click of ours.
pub const SOMEBODY_ELSE: &str =
    "somebody else clicked meanwhile; load a counter that nobody else uses";

/// How long a slice of the timeline is, in microseconds.
pub const SLICE: u64 = 10_000;

/// The longest latency that is told apart, in microseconds: ten minutes.
const LONGEST: u64 = 600_000_000;

/// Latencies in microseconds. 32 bits are enough for one client, and half the memory.
pub type Latencies = Histogram<u32>;

/// A click that not all clients have heard of.
struct Click {
    at: u64,
    owner: u32,
    /// How many clients have its value or a later one.
    passed: u32,
    /// No client has skipped it.
    whole: bool,
}

/// What one client got.
#[derive(Clone)]
pub struct Account {
    /// The click that its newest value is of; 0 before the first.
    pub seen: u64,
    /// How many values it missed.
    pub skipped: u64,
    /// Whether it was told of a click in the other direction.
    went_back: bool,
    /// From a click to its copy, whoever clicked.
    pub latencies: Latencies,
}

/// What came that should not have come.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    /// An older value after a newer one.
    pub backwards: u64,
    /// The same value once more.
    pub repeated: u64,
    /// Values that nobody here clicked for.
    pub unasked: u64,
}

/// A run's clicks and what each client got of them.
pub struct Ledger {
    base: i64,
    step: i64,
    barrier: bool,
    clicks: VecDeque<Click>,
    /// The number of the first one in `clicks`; they are counted from 1.
    first: u64,
    /// How many clicks were made, or were due.
    pub sent: u64,
    /// One for each client.
    pub accounts: Vec<Account>,
    /// From a click to its sender's own copy.
    pub own: Latencies,
    /// From a click to the last client's copy.
    pub last: Latencies,
    /// How many values arrived, all clients together.
    pub deliveries: u64,
    /// How many of them in each slice of time.
    pub timeline: Vec<u64>,
    /// How many clients were told of a click in the other direction.
    went_back: usize,
    /// What should not have come.
    pub faults: Faults,
    /// When the run began.
    pub began: u64,
    /// When the last value came.
    pub ended: u64,
    /// Who may click again, and how often.
    pub free: Vec<(u32, u32)>,
}

impl Ledger {
    /// A ledger for `clients` that all have the value `base`.
    pub fn new(clients: usize, base: i64, step: i64, barrier: bool) -> Result<Self> {
        // Two digits for each of the many, three for all.
        let account = Account { seen: 0, skipped: 0, went_back: false, latencies: histogram(2)? };
        Ok(Self {
            base,
            step,
            barrier,
            clicks: VecDeque::new(),
            first: 1,
            sent: 0,
            accounts: vec![account; clients],
            own: histogram(3)?,
            last: histogram(3)?,
            deliveries: 0,
            timeline: Vec::new(),
            went_back: 0,
            faults: Faults::default(),
            began: 0,
            ended: 0,
            free: Vec::new(),
        })
    }

    /// Says when the run begins.
    pub fn begin(&mut self, now: u64) {
        (self.began, self.ended) = (now, now);
    }

    /// Books a click of `owner`. With a rate, `at` is when it was due, even if it is sent late:
    /// the wait is the server's, or ours, but never the user's fault.
    pub fn click(&mut self, owner: u32, at: u64) {
        self.sent += 1;
        self.clicks.push_back(Click { at, owner, passed: 0, whole: true });
    }

    /// Books the values that client `who` was told.
    pub fn hear(&mut self, who: usize, values: &[i64], now: u64) {
        let before = self.deliveries;
        for value in values {
            self.hear_one(who, *value, now);
        }
        if self.deliveries > before {
            self.ended = now;
            let slice = ((now - self.began) / SLICE) as usize;
            if self.timeline.len() <= slice {
                self.timeline.resize(slice + 1, 0);
            }
            if let Some(deliveries) = self.timeline.get_mut(slice) {
                *deliveries += self.deliveries - before;
            }
        }
    }

    fn hear_one(&mut self, who: usize, value: i64, now: u64) {
        let Some(account) = self.accounts.get_mut(who) else { return };
        let number = value.wrapping_sub(self.base).wrapping_mul(self.step);
        let Some(number) = u64::try_from(number).ok().filter(|number| *number <= self.sent) else {
            self.faults.unasked += 1;
            return;
        };
        if number == account.seen {
            self.faults.repeated += 1;
            return;
        }
        if number < account.seen {
            self.faults.backwards += 1;
            // One step back, to a value that it has had: what comes late was skipped before, and
            // where data were lost, it is more than a step.
            if number + 1 == account.seen && account.skipped == 0 && !account.went_back {
                account.went_back = true;
                self.went_back += 1;
            }
            return;
        }
        let next = account.seen + 1;
        account.seen = number;
        account.skipped += number - next;
        self.deliveries += 1;
        for skipped in next..number {
            self.pass(who, skipped, now, false);
        }
        self.pass(who, number, now, true);
    }

    /// Client `who` has the value of a click, or has skipped it.
    fn pass(&mut self, who: usize, number: u64, now: u64, got: bool) {
        let clients = self.accounts.len() as u32;
        let click = self.clicks.get_mut((number - self.first) as usize);
        let (Some(click), Some(account)) = (click, self.accounts.get_mut(who)) else { return };
        let latency = now.saturating_sub(click.at);
        let own = click.owner as usize == who;
        click.passed += 1;
        click.whole &= got;
        let complete = click.passed == clients;
        if got {
            account.latencies.saturating_record(latency);
            if own {
                self.own.saturating_record(latency);
            }
        }
        if if self.barrier { complete } else { own } {
            match self.free.last_mut() {
                Some((owner, clicks)) if *owner == click.owner => *clicks += 1,
                _ => self.free.push((click.owner, 1)),
            }
        }
        // Each client passes the clicks in order, so the first one is complete first.
        if complete {
            if click.whole {
                self.last.saturating_record(latency);
            }
            self.clicks.pop_front();
            self.first += 1;
        }
    }

    /// Whether every client has the last click's value.
    pub fn complete(&self) -> bool {
        self.clicks.is_empty()
    }

    /// Fails if somebody else clicked: there is a value that nobody here clicked for, or everybody
    /// was told of a click in the other direction.
    pub fn check_others(&self) -> Result<()> {
        match self.faults.unasked > 0 || self.went_back == self.accounts.len() {
            true => Err(SOMEBODY_ELSE.into()),
            false => Ok(()),
        }
    }

    /// How many clicks not every client has heard of.
    pub fn missing(&self) -> usize {
        self.clicks.len()
    }

    /// When the oldest click was made that not every client has heard of.
    pub fn oldest(&self) -> Option<u64> {
        self.clicks.front().map(|click| click.at)
    }

    /// How many clients do not have the last click's value.
    pub fn behind(&self) -> usize {
        self.accounts.iter().filter(|account| account.seen < self.sent).count()
    }

    /// How many values were skipped, and by how many clients.
    pub fn skipped(&self) -> (u64, usize) {
        let skipped = self.accounts.iter().map(|account| account.skipped);
        (skipped.clone().sum(), skipped.filter(|skipped| *skipped > 0).count())
    }
}

/// An empty histogram of that many digits.
pub fn histogram(digits: u8) -> Result<Latencies> {
    Ok(Latencies::new_with_max(LONGEST, digits)?)
}
