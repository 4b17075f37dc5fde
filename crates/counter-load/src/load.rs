//! A run: the senders click, until the run is over and every client has received every value.

use std::time::{Duration, Instant};

use common::Result;

use crate::args::Args;
use crate::client::Client;
use crate::frame::{self, TEXT};
use crate::pace::Pace;
use crate::pool::{ClientPool, STALL_TIMEOUT};
use crate::progress::progress_bar;
use crate::recorder::{OTHER_CLIENT, Recorder};

/// The longest warm-up.
const MAX_WARM_UP: Duration = Duration::from_secs(1);

/// The time to wait for values of other clients, after all values of our own clicks have arrived.
const EXTRA_WAIT: Duration = Duration::from_millis(100);

/// A run.
pub struct Load<'a> {
    /// What the run has recorded so far.
    pub recorder: Recorder,
    args: &'a Args,
    /// A click, as a frame.
    click: Vec<u8>,
    /// The time to click.
    duration: Duration,
    /// The total number of clicks.
    updates: u64,
    /// The time and the number of clicks are not used up yet.
    is_clicking: bool,
}

impl<'a> Load<'a> {
    /// The measured run, in which all clicks go up.
    pub fn measured(args: &'a Args, pool: &ClientPool) -> Result<Self> {
        Self::new(args, pool, 1, r#"{"action":"plus"}"#)
    }

    /// The warm-up, which is a tenth of the measured run. All its clicks go down.
    pub fn warm_up(args: &'a Args, pool: &ClientPool) -> Result<Self> {
        let mut run = Self::new(args, pool, -1, r#"{"action":"minus"}"#)?;
        run.duration = MAX_WARM_UP.min(run.duration / 10);
        run.updates = run.updates.div_ceil(10);
        Ok(run)
    }

    fn new(args: &'a Args, pool: &ClientPool, step: i64, action: &str) -> Result<Self> {
        let value = pool.clients.first().and_then(|client| client.value).unwrap_or_default();
        let click = frame::encode(TEXT, action.as_bytes());
        let (duration, updates) = (args.duration(), args.updates.unwrap_or(u64::MAX));
        let recorder = Recorder::new(pool.clients.len(), value, step, args.barrier)?;
        Ok(Self { recorder, args, click, duration, updates, is_clicking: true })
    }

    /// Carries out the run, as far as possible. If it fails, the recorder has all that was recorded
    /// before.
    pub fn run(&mut self, pool: &mut ClientPool, label: &'static str) -> Result<()> {
        let first = pool.clients.first().and_then(|client| client.value);
        if pool.clients.iter().any(|client| client.value != first) {
            return Err(OTHER_CLIENT.into());
        }
        let (args, duration, updates) = (self.args, self.duration, self.updates);
        let bar = progress_bar(label, 1000);
        let pace = args.rate.map(|rate| Pace::new(rate, self.recorder.began, pool.waker.clone()));
        let (senders, in_flight) = (args.senders(), args.in_flight);
        for sender in 0..senders {
            let clicks = in_flight / senders + u32::from(sender < in_flight % senders);
            self.recorder.may_click.push((sender as usize, clicks.into()));
        }
        self.click_again(&mut pool.clients)?;
        let mut end = duration;
        while self.is_clicking || self.recorder.missing() > 0 {
            let polled = pool.poll_once(|clients, client, received| {
                self.recorder.record_values(client, &received.values, received.received_at);
                self.click_again(clients)
            });
            let passed = pool.polled_at.duration_since(self.recorder.began);
            if pool.is_stopped() {
                end = end.min(passed);
            }
            // This sends late clicks that were due before the end, too, even if the poll failed.
            let clicked = match &pace {
                Some(pace) => self.click_due(&mut pool.clients, pace, passed, end),
                None => Ok(()),
            };
            polled.and(clicked)?;
            self.is_clicking &= passed < end && self.recorder.clicks < updates;
            let share = self.recorder.clicks as f64 / updates as f64;
            bar.set_position((1000.0 * passed.div_duration_f64(duration).max(share)) as u64);
            self.recorder.check_other_clients()?;
            self.check_progress(pool)?;
        }
        Ok(())
    }

    /// Waits a little longer after a run. A value that arrives now comes from another client's
    /// click.
    pub fn check_for_late_values(&mut self, pool: &mut ClientPool) -> Result<()> {
        let until = Instant::now() + EXTRA_WAIT;
        while Instant::now() < until {
            pool.poll_once(|_, client, received| {
                self.recorder.record_values(client, &received.values, received.received_at);
                Ok(())
            })?;
        }
        self.recorder.check_other_clients()
    }

    /// Lets the senders click whose clicks are complete. With a rate, senders do not wait for them.
    fn click_again(&mut self, clients: &mut [Client]) -> Result<()> {
        while let Some((sender, clicks)) = self.recorder.may_click.pop() {
            if self.is_clicking && self.args.rate.is_none() {
                let clicks = clicks.min(self.updates - self.recorder.clicks);
                let now = self.recorder.began.elapsed();
                (0..clicks).for_each(|_| self.recorder.record_click(sender, now));
                self.send(clients, sender, clicks as usize)?;
            }
        }
        Ok(())
    }

    /// Makes the clicks that are due now, spread over the senders.
    fn click_due(
        &mut self,
        clients: &mut [Client],
        pace: &Pace,
        now: Duration,
        end: Duration,
    ) -> Result<()> {
        let senders = self.args.senders() as usize;
        let due = (self.recorder.clicks..self.updates).map(|n| (n, pace.due_at(n)));
        let due = due.take_while(|(_, due)| *due <= now && *due < end);
        let due: Vec<_> = due.map(|(n, due)| (n as usize % senders, due)).collect();
        // Record all clicks before the first one is sent, because sending may fail.
        for (sender, due) in &due {
            self.recorder.record_click(*sender, *due);
        }
        for (first, (sender, _)) in due.iter().enumerate().take(senders) {
            self.send(clients, *sender, due.iter().skip(first).step_by(senders).len())?;
        }
        Ok(())
    }

    fn send(&self, clients: &mut [Client], sender: usize, clicks: usize) -> Result<()> {
        let client = clients.get_mut(sender);
        client.map_or(Ok(()), |client| client.send(&self.click.repeat(clicks)))
    }

    fn check_progress(&self, pool: &ClientPool) -> Result<()> {
        let since = self.recorder.waiting_since();
        if since.is_none_or(|since| !pool.has_timed_out_since(since)) {
            return Ok(());
        }
        let (behind, all) = (self.recorder.behind(), pool.clients.len());
        let seconds = STALL_TIMEOUT.as_secs();
        Err(format!(
            "{behind} of {all} clients did not get the newest value within {seconds} s; \
             check the server's log"
        )
        .into())
    }
}
