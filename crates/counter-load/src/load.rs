//! A run: who clicks when, until it is over and everyone has heard of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::Result;

use crate::args::Args;
use crate::bar::Bar;
use crate::client::Client;
use crate::crowd::{Crowd, Listener, PATIENCE, Shared};
use crate::frame;
use crate::ledger::Ledger;
use crate::pace::Pace;

/// How many clicks go into one write at most.
const BATCH: usize = 256;

/// The longest warm-up.
const WARM_UP: Duration = Duration::from_secs(1);

/// What a run is.
pub struct Plan {
    what: &'static str,
    action: &'static str,
    step: i64,
    senders: u32,
    in_flight: u32,
    barrier: bool,
    rate: Option<f64>,
    duration: Option<Duration>,
    updates: u64,
}

impl Plan {
    /// The run that is measured: up.
    pub fn measured(args: &Args) -> Self {
        Self {
            what: "clicking",
            action: r#"{"action":"plus"}"#,
            step: 1,
            senders: args.senders(),
            in_flight: args.in_flight,
            barrier: args.barrier,
            rate: args.rate,
            duration: args.duration(),
            updates: args.updates.unwrap_or(u64::MAX),
        }
    }

    /// A tenth of it before that: down.
    pub fn warm_up(args: &Args) -> Self {
        let duration = args.duration().map_or(WARM_UP, |duration| WARM_UP.min(duration / 10));
        Self {
            what: "warming up",
            action: r#"{"action":"minus"}"#,
            step: -1,
            duration: Some(duration),
            updates: args.updates.map_or(u64::MAX, |updates| updates.div_ceil(10)),
            ..Self::measured(args)
        }
    }
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

/// A run that is going on.
struct Load<'a> {
    plan: &'a Plan,
    ledger: Ledger,
    /// Whether to go on clicking.
    clicking: bool,
    /// Whose turn it is when clicks are due by the clock.
    next: u32,
    /// Many clicks as frames, end to end, and the length of one.
    frames: Vec<u8>,
    frame: usize,
}

/// Carries out `plan`, or as much of it as can be done: the inner result says why it is not more.
pub fn run(crowd: &mut Crowd, plan: &Plan, stop: &AtomicBool) -> Result<(Ledger, Result<()>)> {
    let value = crowd.clients.first().map_or(0, |client| client.value);
    if crowd.clients.iter().any(|client| client.value != value) {
        return Err("the clients do not agree on the value before the first click; \
                    is somebody else clicking on this counter?"
            .into());
    }
    let mut frames = Vec::new();
    frame::write(&mut frames, 0x81, plan.action.as_bytes());
    let frame = frames.len();
    let frames = frames.repeat(BATCH);
    let bar = Bar::new(plan.what, plan.duration.map_or(plan.updates, micros));
    let mut ledger = Ledger::new(crowd.clients.len(), value, plan.step, plan.barrier)?;
    ledger.begin(crowd.shared.now());
    let mut load = Load { plan, ledger, clicking: true, next: 0, frames, frame };
    let result = load.run(crowd, &bar, stop);
    Ok((load.ledger, result))
}

impl Load<'_> {
    fn run(&mut self, crowd: &mut Crowd, bar: &Bar, stop: &AtomicBool) -> Result<()> {
        let Plan { senders, in_flight, duration, updates, .. } = *self.plan;
        let duration = duration.map(micros);
        let began = crowd.shared.clock + Duration::from_micros(self.ledger.began);
        let pace = self.plan.rate.map(|rate| Pace::new(rate, began, crowd.waker.clone()));
        if pace.is_none() {
            for sender in 0..senders {
                let clicks = in_flight / senders + u32::from(sender < in_flight % senders);
                self.click(&mut crowd.clients, sender, clicks.into(), self.ledger.began)?;
            }
        }
        while self.clicking || !self.ledger.complete() {
            crowd.turn(self)?;
            let now = crowd.shared.now();
            let passed = now - self.ledger.began;
            self.clicking &= duration.is_none_or(|duration| passed < duration)
                && self.ledger.sent < updates
                && !stop.load(Ordering::Relaxed);
            if let Some(pace) = &pace {
                self.click_what_is_due(&mut crowd.clients, pace, passed)?;
            }
            bar.at(if duration.is_some() { passed } else { self.ledger.sent });
            self.check_progress(now)?;
        }
        Ok(())
    }

    /// Clicks, if it is not too late for that.
    fn click(&mut self, clients: &mut [Client], sender: u32, clicks: u64, at: u64) -> Result<()> {
        let Some(client) = clients.get_mut(sender as usize).filter(|_| self.clicking) else {
            return Ok(());
        };
        let mut left = clicks.min(self.plan.updates - self.ledger.sent) as usize;
        for _ in 0..left {
            self.ledger.click(sender, at);
        }
        while left > 0 {
            let now = left.min(BATCH);
            client.send(self.frames.get(..now * self.frame).unwrap_or_default())?;
            left -= now;
        }
        Ok(())
    }

    /// Makes the clicks that are due, each bunch spread over the senders.
    fn click_what_is_due(&mut self, clients: &mut [Client], pace: &Pace, now: u64) -> Result<()> {
        while self.clicking && self.ledger.sent < self.plan.updates {
            let due = pace.due(self.ledger.sent);
            if due > now {
                break;
            }
            let mut bunch = (self.ledger.sent..).take_while(|n| pace.due(*n) == due).count() as u64;
            let share = bunch.div_ceil(self.plan.senders.into());
            while bunch > 0 {
                self.click(clients, self.next, share.min(bunch), self.ledger.began + due)?;
                self.next = (self.next + 1) % self.plan.senders;
                bunch = bunch.saturating_sub(share);
            }
        }
        Ok(())
    }

    fn check_progress(&self, now: u64) -> Result<()> {
        let long_ago = |then: u64| now.saturating_sub(then) > micros(PATIENCE);
        if !self.ledger.oldest().is_some_and(long_ago) || !long_ago(self.ledger.ended) {
            return Ok(());
        }
        let (behind, all) = (self.ledger.behind(), self.ledger.accounts.len());
        let seconds = PATIENCE.as_secs();
        Err(format!(
            "{behind} of {all} clients did not get the newest value within {seconds} s; \
             is this server's log silent about it?"
        )
        .into())
    }
}

impl Listener for Load<'_> {
    fn hear(&mut self, who: usize, value: i64, now: u64) {
        self.ledger.hear(who, value, now);
    }

    fn after(&mut self, clients: &mut [Client], shared: &Shared) -> Result<()> {
        self.ledger.slice();
        // By the clock, nobody waits for a copy.
        if self.plan.rate.is_some() {
            self.ledger.free.clear();
        }
        while let Some((sender, clicks)) = self.ledger.free.pop() {
            self.click(clients, sender, clicks.into(), shared.now())?;
        }
        Ok(())
    }
}
