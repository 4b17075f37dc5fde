//! Measures how long a message takes to reach its last subscriber. One message is measured at a
//! time: the next measurement starts when every subscriber has received the last one.

use std::fmt;
use std::time::{Duration, Instant};

use crate::catch::catch;

/// The function that receives a measurement.
pub(super) type Report = Box<dyn Fn(Duration) + Send>;

#[derive(Default)]
pub(super) struct DeliveryTimer {
    pub(super) report: Option<Report>,
    /// Counts the measurements. A new subscriber starts with the number of the current one, because
    /// the measurement does not wait for it.
    pub(super) number: u32,
    /// The cursor after the message that is measured, and the time when it was appended.
    message: Option<(u64, Instant)>,
    /// How many subscribers have not received it yet.
    waiting: usize,
}

impl DeliveryTimer {
    /// A message was appended. `end` is the cursor after it.
    pub(super) fn appended(&mut self, end: u64, subscribers: usize) {
        if self.report.is_some() && self.waiting == 0 && subscribers > 0 {
            self.number = self.number.wrapping_add(1);
            self.message = Some((end, Instant::now()));
            self.waiting = subscribers;
        }
    }

    /// A subscriber has received everything before `cursor`, or has left (`u64::MAX`). `counted` is
    /// the number of the measurement in which it was counted last.
    pub(super) fn received(&mut self, cursor: u64, counted: &mut u32) {
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
                // A subscriber that is dropped by a panic calls this, too. A second panic would
                // end the program. The panic hook has logged it.
                catch(|| report(since.elapsed()));
            }
        }
    }
}

impl fmt::Debug for DeliveryTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryTimer").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}
