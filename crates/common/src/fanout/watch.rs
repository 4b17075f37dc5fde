//! How long it takes until the last subscriber has heard a message. One message is watched at a
//! time: the next one begins when everyone who was there has heard the last.

use std::fmt;
use std::time::{Duration, Instant};

/// Who is told how long it took.
pub(super) type Report = Box<dyn Fn(Duration) + Send>;

#[derive(Default)]
pub(super) struct Watch {
    report: Option<Report>,
    /// Counts the messages that were watched.
    number: u32,
    /// Where the message ends on the tape, and since when.
    message: Option<(u64, Instant)>,
    /// How many have not heard it yet.
    waiting: usize,
}

impl Watch {
    pub(super) fn start(&mut self, report: Report) {
        self.report = Some(report);
    }

    /// A message was appended, which ends there.
    pub(super) fn appended(&mut self, end: u64, subscribers: usize) {
        if self.report.is_some() && self.waiting == 0 && subscribers > 0 {
            self.number = self.number.wrapping_add(1);
            self.message = Some((end, Instant::now()));
            self.waiting = subscribers;
        }
    }

    /// For who comes, and need not be waited for.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// A subscriber has heard everything up to `cursor`, or has gone (`u64::MAX`). `counted` is the
    /// number of the message for which it was counted last.
    pub(super) fn heard(&mut self, cursor: u64, counted: &mut u32) {
        if self.waiting == 0 || *counted == self.number {
            return;
        }
        if let Some((end, since)) = self.message
            && cursor >= end
        {
            *counted = self.number;
            self.waiting -= 1;
            if self.waiting == 0
                && let Some(report) = &self.report
            {
                report(since.elapsed());
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}
