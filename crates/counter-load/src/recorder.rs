//! Records every click, and which clients have received its value.
//!
//! All clicks of a run go the same way, up or down, so a value tells which click made it: the value
//! of the first click is `base + step`, and so on. When several senders click at once, their clicks
//! may overtake one another, and no message says whose click made a value. So the recorder counts
//! the n-th value as the value of the n-th click that was sent. The mean latency stays exact, and
//! the percentiles change only by as much as clicks overtook one another.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use common::Result;
use hdrhistogram::Histogram;

/// The error message for a value that is not the value of one of our clicks.
pub const OTHER_CLIENT: &str =
    "another client changed the counter during the test; use a server without other clients";

/// The length of a slice of the timeline.
pub const SLICE: Duration = Duration::from_millis(10);

/// The longest latency that is measured, in microseconds: ten minutes.
const MAX_LATENCY_US: u64 = 600_000_000;

/// Latencies in microseconds. 32 bits are enough for one client, and half the memory.
pub type Latencies = Histogram<u32>;

/// A click whose value some clients have not received yet.
struct Click {
    /// In microseconds since the run began, because every delivery needs the difference to now.
    clicked_at: u64,
    sender: usize,
    /// The number of clients that have received its value or a later one.
    passed_by: usize,
    /// Some client has skipped its value.
    is_skipped: bool,
}

/// The values that one client has received.
#[derive(Clone)]
pub struct ClientRecord {
    /// The number of the click that made its newest value, 0 before the first.
    pub newest_click: u64,
    /// The number of values that it skipped.
    pub skipped: u64,
    /// It has received the value of a click in the other direction.
    saw_reversal: bool,
    /// The times from any client's click until this client received the value.
    pub latencies: Latencies,
}

/// The clicks of a run, and the values that each client has received.
pub struct Recorder {
    base: i64,
    step: i64,
    barrier: bool,
    /// The clicks whose values some clients have not received yet.
    pending: VecDeque<Click>,
    /// The number of the first pending click. Clicks are numbered from 1.
    first_pending: u64,
    /// The number of clicks that were made, or were due.
    pub clicks: u64,
    /// One record for each client.
    pub records: Vec<ClientRecord>,
    /// The times from a click until its sender received the value.
    pub own_copy: Latencies,
    /// The times from a click until the last client received the value.
    pub last_client: Latencies,
    /// The number of values that arrived, for all clients together.
    pub deliveries: u64,
    /// The number of deliveries in each slice of time.
    pub timeline: Vec<u64>,
    /// The number of clients that have received the value of a click in the other direction.
    reversals: usize,
    /// The number of older values after a newer one.
    pub backwards: u64,
    /// The number of values that arrived twice.
    pub repeated: u64,
    /// The number of values that no click of ours has made.
    pub unexpected: u64,
    /// The time at which the run began.
    pub began: Instant,
    /// The time from the beginning until the last value arrived.
    pub ended: Duration,
    /// The senders that may click now, each with a number of clicks.
    pub may_click: Vec<(usize, u64)>,
}

impl Recorder {
    /// A recorder for clients that all have the value `base`. The run begins now.
    pub fn new(clients: usize, base: i64, step: i64, barrier: bool) -> Result<Self> {
        // Two digits are enough for each of many clients, and save memory.
        let latencies = histogram(2)?;
        let record = ClientRecord { newest_click: 0, skipped: 0, saw_reversal: false, latencies };
        let records = vec![record; clients];
        Ok(Self {
            base,
            step,
            barrier,
            pending: VecDeque::new(),
            first_pending: 1,
            clicks: 0,
            records,
            own_copy: histogram(3)?,
            last_client: histogram(3)?,
            deliveries: 0,
            timeline: Vec::new(),
            reversals: 0,
            backwards: 0,
            repeated: 0,
            unexpected: 0,
            began: Instant::now(),
            ended: Duration::ZERO,
            may_click: Vec::new(),
        })
    }

    /// Records a click, at this time since the run began. With a rate, this is the time at which the
    /// click was due, even if it is sent later, because a user would have clicked at that time.
    pub fn record_click(&mut self, sender: usize, at: Duration) {
        self.clicks += 1;
        let clicked_at = at.as_micros() as u64;
        self.pending.push_back(Click { clicked_at, sender, passed_by: 0, is_skipped: false });
    }

    /// Records the values that a client has received.
    pub fn record_values(&mut self, client: usize, values: &[i64], received_at: Instant) {
        let before = self.deliveries;
        let now = received_at.duration_since(self.began);
        for value in values {
            self.record_value(client, *value, now.as_micros() as u64);
        }
        if self.deliveries > before {
            self.ended = now;
            let slice = now.div_duration_f64(SLICE) as usize;
            self.timeline.resize(self.timeline.len().max(slice + 1), 0);
            if let Some(deliveries) = self.timeline.get_mut(slice) {
                *deliveries += self.deliveries - before;
            }
        }
    }

    fn record_value(&mut self, client: usize, value: i64, now: u64) {
        let Some(record) = self.records.get_mut(client) else { return };
        // A value before the first click becomes a huge number.
        let number = value.wrapping_sub(self.base).wrapping_mul(self.step) as u64;
        let next = record.newest_click + 1;
        if number > self.clicks {
            self.unexpected += 1;
        } else if number >= next {
            record.newest_click = number;
            record.skipped += number - next;
            self.deliveries += 1;
            for passed in next..=number {
                self.pass_click(client, passed, now, passed == number);
            }
        } else if number == record.newest_click {
            self.repeated += 1;
        } else {
            self.backwards += 1;
            // One step back to a value that this client already had is a click in the other
            // direction. A late value was skipped before, and lost data are more than one step.
            if number + 1 == record.newest_click && record.skipped == 0 && !record.saw_reversal {
                record.saw_reversal = true;
                self.reversals += 1;
            }
        }
    }

    /// Records that a client has received the value of a click, or has skipped it.
    fn pass_click(&mut self, client: usize, number: u64, now: u64, is_received: bool) {
        let clients = self.records.len();
        let click = self.pending.get_mut((number - self.first_pending) as usize);
        let (Some(click), Some(record)) = (click, self.records.get_mut(client)) else { return };
        let latency = now.saturating_sub(click.clicked_at);
        let is_own = click.sender == client;
        click.passed_by += 1;
        click.is_skipped |= !is_received;
        let is_complete = click.passed_by == clients;
        if is_received {
            record.latencies.saturating_record(latency);
            if is_own {
                self.own_copy.saturating_record(latency);
            }
        }
        let may_click = if self.barrier { is_complete } else { is_own };
        if may_click {
            match self.may_click.last_mut() {
                Some((sender, clicks)) if *sender == click.sender => *clicks += 1,
                _ => self.may_click.push((click.sender, 1)),
            }
        }
        // Each client passes the clicks in order, so the first pending click is complete first.
        if is_complete {
            if !click.is_skipped {
                self.last_client.saturating_record(latency);
            }
            self.pending.pop_front();
            self.first_pending += 1;
        }
    }

    /// Fails if another client has clicked: some value is not the value of one of our clicks, or
    /// all clients have received the value of a click in the other direction.
    pub fn check_other_clients(&self) -> Result<()> {
        match self.unexpected > 0 || self.reversals == self.records.len() {
            true => Err(OTHER_CLIENT.into()),
            false => Ok(()),
        }
    }

    /// The number of clicks whose values some clients have not received.
    pub fn missing(&self) -> usize {
        self.pending.len()
    }

    /// The time since which no value has arrived although some clients have not received a value.
    pub fn waiting_since(&self) -> Option<Instant> {
        let oldest = Duration::from_micros(self.pending.front()?.clicked_at);
        Some(self.began + oldest.max(self.ended))
    }

    /// The number of clients that have not received the value of the last click.
    pub fn behind(&self) -> usize {
        self.records.iter().filter(|record| record.newest_click < self.clicks).count()
    }
}

/// An empty histogram with this number of significant digits.
pub fn histogram(digits: u8) -> Result<Latencies> {
    Ok(Latencies::new_with_max(MAX_LATENCY_US, digits)?)
}
