//! The times at which clicks are due at a fixed rate.
//!
//! Clicks are due in groups, one group every tick. A tick is a millisecond, or longer if less than
//! one click is due in a millisecond. The poll rounds its timeout up to whole milliseconds, which
//! would add half a millisecond to every latency. So a thread sleeps until the tick and wakes the
//! poll.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::Waker;

use crate::clock;

/// The times at which clicks are due.
pub struct Pace {
    tick: f64,
    clicks_in_tick: f64,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pace {
    /// Starts with `rate` clicks per second from `began` on, and calls `waker` at each tick.
    pub fn new(rate: f64, began: u64, waker: Arc<Waker>) -> Self {
        let tick = (1.0 / rate).max(0.001);
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = stop.clone();
        let thread = thread::spawn(move || {
            for n in 1_u32.. {
                let next = began + (f64::from(n) * tick * 1e6) as u64;
                // Sleep at most 0.1 seconds at once, so that a slow rate does not delay the end.
                while let Some(left @ 1..) = next.checked_sub(clock::now()) {
                    if is_stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    thread::sleep(Duration::from_micros(left.min(100_000)));
                }
                // Ignore an error, because the poll also ends by itself a little later.
                _ = waker.wake();
            }
        });
        Self { tick, clicks_in_tick: rate * tick, stop, thread: Some(thread) }
    }

    /// The time at which click number `n` is due, in microseconds since `began`. `n` starts at 0.
    pub fn due_at(&self, n: u64) -> u64 {
        ((n as f64 / self.clicks_in_tick).floor() * self.tick * 1e6) as u64
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Ignore a panic of the thread, because it has nothing left to do.
        _ = self.thread.take().map(JoinHandle::join);
    }
}
