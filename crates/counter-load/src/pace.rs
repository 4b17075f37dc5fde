//! The times at which clicks are due at a fixed rate.
//!
//! Clicks are due in groups, one group every tick. A tick is a millisecond, or longer if less than
//! one click is due in a millisecond. The poll rounds its timeout up to whole milliseconds, which
//! would add half a millisecond to every latency. So a thread sleeps until the tick and wakes the
//! poll.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;

/// The times at which clicks are due.
pub struct Pace {
    tick: f64,
    clicks_in_tick: f64,
    /// The thread ends at the first tick after this is dropped.
    _alive: Arc<()>,
}

impl Pace {
    /// Starts with `rate` clicks per second from `began` on, and calls `waker` at each tick.
    pub fn new(rate: f64, began: Instant, waker: Arc<Waker>) -> Self {
        let tick = (1.0 / rate).max(0.001);
        let alive = Arc::new(());
        let is_alive = Arc::downgrade(&alive);
        thread::spawn(move || {
            for n in 1_u32.. {
                let next = Duration::from_secs_f64(f64::from(n) * tick);
                thread::sleep(next.saturating_sub(began.elapsed()));
                if is_alive.strong_count() == 0 {
                    break;
                }
                // Ignore an error, because the poll also ends by itself a little later.
                _ = waker.wake();
            }
        });
        Self { tick, clicks_in_tick: rate * tick, _alive: alive }
    }

    /// The time from the beginning until click number `n` is due. `n` starts at 0.
    pub fn due_at(&self, n: u64) -> Duration {
        Duration::from_secs_f64((n as f64 / self.clicks_in_tick).floor() * self.tick)
    }
}
