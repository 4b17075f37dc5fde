//! A run: the senders click, until the run is over and every client has received every value.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::Result;

use crate::args::Args;
use crate::client::Client;
use crate::clock::{self, micros};
use crate::frame;
use crate::pace::Pace;
use crate::pool::{ClientPool, STALL_TIMEOUT};
use crate::progress::ProgressBar;
use crate::recorder::{OTHER_CLIENT, Recorder};

/// The largest number of clicks in one write.
const MAX_BATCH: usize = 256;

/// The longest warm-up.
const MAX_WARM_UP: Duration = Duration::from_secs(1);

/// The time to wait for values of other clients, after all values of our own clicks have arrived.
const EXTRA_WAIT: Duration = Duration::from_millis(100);

/// The plan of a run.
pub struct Plan<'a> {
    args: &'a Args,
    label: &'static str,
    action: &'static str,
    step: i64,
    duration: Option<Duration>,
    updates: u64,
}

impl<'a> Plan<'a> {
    /// The measured run, in which all clicks go up.
    pub fn measured(args: &'a Args) -> Self {
        let (duration, updates) = (args.duration(), args.updates.unwrap_or(u64::MAX));
        let (label, action) = ("clicking", r#"{"action":"plus"}"#);
        Self { args, label, action, step: 1, duration, updates }
    }

    /// The warm-up, which is a tenth of the measured run. All its clicks go down.
    pub fn warm_up(args: &'a Args) -> Self {
        let duration =
            args.duration().map_or(MAX_WARM_UP, |duration| MAX_WARM_UP.min(duration / 10));
        let updates = args.updates.map_or(u64::MAX, |updates| updates.div_ceil(10));
        let (label, action) = ("warming up", r#"{"action":"minus"}"#);
        Self { args, label, action, step: -1, duration: Some(duration), updates }
    }
}

/// A run that is under way.
struct ActiveRun<'a> {
    plan: &'a Plan<'a>,
    recorder: Recorder,
    /// The time and the number of clicks of the plan are not used up yet.
    is_clicking: bool,
    /// With a rate, the sender of the next click.
    next_sender: u32,
    /// The same click many times, as frames one after the other.
    frames: Vec<u8>,
    frame_length: usize,
}

/// Carries out the plan, as far as possible. If the run fails, the inner result says why, and the
/// recorder has all that was recorded before.
pub fn run(
    pool: &mut ClientPool,
    plan: &Plan<'_>,
    stop: &AtomicBool,
) -> Result<(Recorder, Result<()>)> {
    let value = pool.clients.first().map_or(0, |client| client.value);
    let mut recorder = Recorder::new(pool.clients.len(), value, plan.step, plan.args.barrier)?;
    if pool.clients.iter().any(|client| client.value != value) {
        return Ok((recorder, Err(OTHER_CLIENT.into())));
    }
    let mut frames = Vec::new();
    frame::write(&mut frames, 0x81, plan.action.as_bytes());
    let frame_length = frames.len();
    let frames = frames.repeat(MAX_BATCH);
    recorder.begin(clock::now());
    let mut run =
        ActiveRun { plan, recorder, is_clicking: true, next_sender: 0, frames, frame_length };
    let result = run.run(pool, stop);
    Ok((run.recorder, result))
}

/// Waits a little longer after a run. A value that arrives now comes from another client's click.
pub fn check_for_late_values(pool: &mut ClientPool, recorder: &mut Recorder) -> Result<()> {
    let until = clock::now() + micros(EXTRA_WAIT);
    while clock::now() < until {
        pool.poll_once(|_, client, values, received_at| {
            recorder.record_values(client, values, received_at);
            Ok(())
        })?;
    }
    recorder.check_other_clients()
}

impl ActiveRun<'_> {
    fn run(&mut self, pool: &mut ClientPool, stop: &AtomicBool) -> Result<()> {
        let (args, updates) = (self.plan.args, self.plan.updates);
        let duration = self.plan.duration.map(micros);
        let bar = ProgressBar::new(self.plan.label, duration.unwrap_or(updates));
        let pace = args.rate.map(|rate| Pace::new(rate, self.recorder.began, pool.waker.clone()));
        if pace.is_none() {
            let (senders, in_flight) = (args.senders(), args.in_flight);
            for sender in 0..senders {
                let clicks = in_flight / senders + u32::from(sender < in_flight % senders);
                self.click(&mut pool.clients, sender, clicks.into(), self.recorder.began)?;
            }
        }
        let mut end = duration.unwrap_or(u64::MAX);
        while self.is_clicking || !self.recorder.is_complete() {
            let polled = pool.poll_once(|clients, client, values, received_at| {
                self.recorder.record_values(client, values, received_at);
                self.click_again(clients)
            });
            let passed = pool.polled_at.saturating_sub(self.recorder.began);
            if stop.load(Ordering::Relaxed) {
                end = end.min(passed);
            }
            // This sends late clicks that were due before the end, too, even if the poll failed.
            let clicked = match &pace {
                Some(pace) => self.click_due(&mut pool.clients, pace, passed, end),
                None => Ok(()),
            };
            polled.and(clicked)?;
            self.is_clicking &= passed < end && self.recorder.total_clicks < updates;
            bar.set_position(if duration.is_some() { passed } else { self.recorder.total_clicks });
            self.recorder.check_other_clients()?;
            self.check_progress(pool)?;
        }
        Ok(())
    }

    /// Clicks, unless the run is over.
    fn click(&mut self, clients: &mut [Client], sender: u32, clicks: u64, at: u64) -> Result<()> {
        if !self.is_clicking {
            return Ok(());
        }
        let clicks = clicks.min(self.plan.updates - self.recorder.total_clicks);
        for _ in 0..clicks {
            self.recorder.record_click(sender, at);
        }
        self.send(clients, sender, clicks as usize)
    }

    /// Lets the senders click again whose clicks are complete.
    fn click_again(&mut self, clients: &mut [Client]) -> Result<()> {
        // With a rate, senders do not wait for the value of their last click.
        if self.plan.args.rate.is_some() {
            self.recorder.may_click.clear();
        }
        while let Some((sender, clicks)) = self.recorder.may_click.pop() {
            self.click(clients, sender, clicks.into(), clock::now())?;
        }
        Ok(())
    }

    /// Makes the clicks that are due now, spread over the senders.
    fn click_due(&mut self, clients: &mut [Client], pace: &Pace, now: u64, end: u64) -> Result<()> {
        let due = (self.recorder.total_clicks..self.plan.updates).map(|n| pace.due_at(n));
        let due: Vec<u64> = due.take_while(|due| *due <= now && *due < end).collect();
        let senders = self.plan.args.senders();
        let mut sends = Vec::new();
        // Record all clicks before the first one is sent, because sending may fail.
        for share in due.chunks(due.len().div_ceil(senders as usize).max(1)) {
            for due in share {
                self.recorder.record_click(self.next_sender, self.recorder.began + due);
            }
            sends.push((self.next_sender, share.len()));
            self.next_sender = (self.next_sender + 1) % senders;
        }
        sends.into_iter().try_for_each(|(sender, clicks)| self.send(clients, sender, clicks))
    }

    fn send(&self, clients: &mut [Client], sender: u32, mut clicks: usize) -> Result<()> {
        let Some(client) = clients.get_mut(sender as usize) else { return Ok(()) };
        while clicks > 0 {
            let batch = clicks.min(MAX_BATCH);
            client.send(self.frames.get(..batch * self.frame_length).unwrap_or_default())?;
            clicks -= batch;
        }
        Ok(())
    }

    fn check_progress(&self, pool: &ClientPool) -> Result<()> {
        let timed_out = |since: u64| pool.has_timed_out_since(since);
        if !self.recorder.oldest_missing().is_some_and(timed_out) || !timed_out(self.recorder.ended)
        {
            return Ok(());
        }
        let (behind, all) = (self.recorder.behind(), self.recorder.records.len());
        let seconds = STALL_TIMEOUT.as_secs();
        Err(format!(
            "{behind} of {all} clients did not get the newest value within {seconds} s; \
             check the server's log"
        )
        .into())
    }
}
