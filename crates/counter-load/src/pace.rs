//! When clicks are due at a fixed rate.
//!
//! Clicks are due in bunches, one bunch every tick: a tick is a millisecond, or longer if there is
//! less than one click in that. The poll counts in whole milliseconds and rounds up, which would
//! make half a millisecond of every latency ours; so a thread sleeps until the tick and wakes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::Waker;

use crate::clock;

/// The clicks' timetable.
pub struct Pace {
    tick: f64,
    clicks_in_tick: f64,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pace {
    /// `rate` clicks a second since `began`, and `waker` at each tick.
    pub fn new(rate: f64, began: u64, waker: Arc<Waker>) -> Self {
        let tick = (1.0 / rate).max(0.001);
        let over = Arc::new(AtomicBool::new(false));
        let done = over.clone();
        let thread = thread::spawn(move || {
            for n in 1_u32.. {
                let next = began + (f64::from(n) * tick * 1e6) as u64;
                // Not beyond a moment, so that a slow rate does not delay the end.
                while let Some(left @ 1..) = next.checked_sub(clock::now()) {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    thread::sleep(Duration::from_micros(left.min(100_000)));
                }
                // A poll that fails to be woken wakes up a little later by itself.
                _ = waker.wake();
            }
        });
        Self { tick, clicks_in_tick: rate * tick, over, thread: Some(thread) }
    }

    /// When click number `n` is due, counted from 0, in microseconds since the beginning.
    pub fn due(&self, n: u64) -> u64 {
        ((n as f64 / self.clicks_in_tick).floor() * self.tick * 1e6) as u64
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // A thread that has ended in a panic has nothing left to do, either.
        _ = self.thread.take().map(JoinHandle::join);
    }
}
