//! A run: who clicks when, until it is over and everyone has heard of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::Result;

use crate::args::Args;
use crate::bar::Bar;
use crate::client::Client;
use crate::clock::{self, micros};
use crate::crowd::{Crowd, PATIENCE};
use crate::frame;
use crate::ledger::{Ledger, SOMEBODY_ELSE};
use crate::pace::Pace;

/// How many clicks go into one write at most.
const BATCH: usize = 256;

/// The longest warm-up.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long to listen for what nobody here has clicked for, after everything has come.
const QUIET: Duration = Duration::from_millis(100);

/// What a run is.
pub struct Plan<'a> {
    args: &'a Args,
    what: &'static str,
    action: &'static str,
    step: i64,
    duration: Option<Duration>,
    updates: u64,
}

impl<'a> Plan<'a> {
    /// The run that is measured: up.
    pub fn measured(args: &'a Args) -> Self {
        let (duration, updates) = (args.duration(), args.updates.unwrap_or(u64::MAX));
        let (what, action) = ("clicking", r#"{"action":"plus"}"#);
        Self { args, what, action, step: 1, duration, updates }
    }

    /// A tenth of it before that: down.
    pub fn warm_up(args: &'a Args) -> Self {
        let duration = args.duration().map_or(WARM_UP, |duration| WARM_UP.min(duration / 10));
        let updates = args.updates.map_or(u64::MAX, |updates| updates.div_ceil(10));
        let (what, action) = ("warming up", r#"{"action":"minus"}"#);
        Self { args, what, action, step: -1, duration: Some(duration), updates }
    }
}

/// A run that is going on.
struct Load<'a> {
    plan: &'a Plan<'a>,
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
pub fn run(crowd: &mut Crowd, plan: &Plan<'_>, stop: &AtomicBool) -> Result<(Ledger, Result<()>)> {
    let value = crowd.clients.first().map_or(0, |client| client.value);
    let mut ledger = Ledger::new(crowd.clients.len(), value, plan.step, plan.args.barrier)?;
    if crowd.clients.iter().any(|client| client.value != value) {
        return Ok((ledger, Err(SOMEBODY_ELSE.into())));
    }
    let mut frames = Vec::new();
    frame::write(&mut frames, 0x81, plan.action.as_bytes());
    let frame = frames.len();
    let frames = frames.repeat(BATCH);
    ledger.begin(clock::now());
    let mut load = Load { plan, ledger, clicking: true, next: 0, frames, frame };
    let result = load.run(crowd, stop);
    Ok((load.ledger, result))
}

/// Listens a little longer: what comes now is of somebody else's click.
pub fn listen_on(crowd: &mut Crowd, ledger: &mut Ledger) -> Result<()> {
    let until = clock::now() + micros(QUIET);
    while clock::now() < until {
        crowd.turn(|_, who, values, at| {
            ledger.hear(who, values, at);
            Ok(())
        })?;
    }
    ledger.check_others()
}

impl Load<'_> {
    fn run(&mut self, crowd: &mut Crowd, stop: &AtomicBool) -> Result<()> {
        let (args, updates) = (self.plan.args, self.plan.updates);
        let duration = self.plan.duration.map(micros);
        let bar = Bar::new(self.plan.what, duration.unwrap_or(updates));
        let pace = args.rate.map(|rate| Pace::new(rate, self.ledger.began, crowd.waker.clone()));
        if pace.is_none() {
            let (senders, in_flight) = (args.senders(), args.in_flight);
            for sender in 0..senders {
                let clicks = in_flight / senders + u32::from(sender < in_flight % senders);
                self.click(&mut crowd.clients, sender, clicks.into(), self.ledger.began)?;
            }
        }
        let mut end = duration.unwrap_or(u64::MAX);
        while self.clicking || !self.ledger.complete() {
            let turned = crowd.turn(|clients, who, values, at| {
                self.ledger.hear(who, values, at);
                self.click_again(clients)
            });
            let passed = crowd.now.saturating_sub(self.ledger.began);
            if stop.load(Ordering::Relaxed) {
                end = end.min(passed);
            }
            // Also what was due before the end and is late, and what was due when all broke off.
            let clicked = match &pace {
                Some(pace) => self.click_what_is_due(&mut crowd.clients, pace, passed, end),
                None => Ok(()),
            };
            turned.and(clicked)?;
            self.clicking &= passed < end && self.ledger.sent < updates;
            bar.at(if duration.is_some() { passed } else { self.ledger.sent });
            self.ledger.check_others()?;
            self.check_progress(crowd)?;
        }
        Ok(())
    }

    /// Clicks, if it is not too late for that.
    fn click(&mut self, clients: &mut [Client], sender: u32, clicks: u64, at: u64) -> Result<()> {
        if !self.clicking {
            return Ok(());
        }
        let clicks = clicks.min(self.plan.updates - self.ledger.sent);
        for _ in 0..clicks {
            self.ledger.click(sender, at);
        }
        self.send(clients, sender, clicks as usize)
    }

    /// Once more by those whose clicks are not under way any more.
    fn click_again(&mut self, clients: &mut [Client]) -> Result<()> {
        // By the clock, nobody waits for a copy.
        if self.plan.args.rate.is_some() {
            self.ledger.free.clear();
        }
        while let Some((sender, clicks)) = self.ledger.free.pop() {
            self.click(clients, sender, clicks.into(), clock::now())?;
        }
        Ok(())
    }

    /// Makes the clicks that are due by now, each bunch spread over the senders.
    fn click_what_is_due(
        &mut self,
        clients: &mut [Client],
        pace: &Pace,
        now: u64,
        end: u64,
    ) -> Result<()> {
        let due = (self.ledger.sent..self.plan.updates).map(|n| pace.due(n));
        let due: Vec<u64> = due.take_while(|due| *due <= now && *due < end).collect();
        let senders = self.plan.args.senders();
        let mut sends = Vec::new();
        // All are booked before any is sent: sending may fail.
        for share in due.chunks(due.len().div_ceil(senders as usize).max(1)) {
            for due in share {
                self.ledger.click(self.next, self.ledger.began + due);
            }
            sends.push((self.next, share.len()));
            self.next = (self.next + 1) % senders;
        }
        sends.into_iter().try_for_each(|(sender, clicks)| self.send(clients, sender, clicks))
    }

    fn send(&self, clients: &mut [Client], sender: u32, mut clicks: usize) -> Result<()> {
        let Some(client) = clients.get_mut(sender as usize) else { return Ok(()) };
        while clicks > 0 {
            let now = clicks.min(BATCH);
            client.send(self.frames.get(..now * self.frame).unwrap_or_default())?;
            clicks -= now;
        }
        Ok(())
    }

    fn check_progress(&self, crowd: &Crowd) -> Result<()> {
        let silent = |since: u64| crowd.too_long_ago(since);
        if !self.ledger.oldest().is_some_and(silent) || !silent(self.ledger.ended) {
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
