//! The time in microseconds since the first call of `now`.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The current time in microseconds.
pub fn now() -> u64 {
    micros(START.elapsed())
}

/// A duration in microseconds.
pub fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
