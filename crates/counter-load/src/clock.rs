//! The time: microseconds since the program first looked.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How late it is.
pub fn now() -> u64 {
    micros(START.elapsed())
}

/// A duration in the clock's unit.
pub fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
