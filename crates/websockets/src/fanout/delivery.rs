//! Measures how long a message takes to reach its last subscriber. One message is measured at a
//! time: the next measurement starts when every subscriber has received the last one.

use std::fmt;
use std::time::{Duration, Instant};

use crate::catch::catch;

#[derive(Default)]
pub(super) struct DeliveryTimer {
    /// The function that receives each measurement.
    pub(super) report: Option<Box<dyn Fn(Duration) + Send>>,
    /// Counts the measurements. A new subscriber starts with the number of the current one, because
    /// the measurement does not wait for it.
    pub(super) number: u32,
    /// The message that is measured: the cursor after it, the time when it was appended, and how
    /// many subscribers have not received it yet.
    message: Option<(u64, Instant, usize)>,
}

impl DeliveryTimer {
    /// A message was appended. `end` is the cursor after it.
    pub(super) fn appended(&mut self, end: u64, subscribers: usize) {
        if self.report.is_some() && self.message.is_none() && subscribers > 0 {
            self.number = self.number.wrapping_add(1);
            self.message = Some((end, Instant::now(), subscribers));
        }
    }

    /// A subscriber has received everything before `cursor`, or has left (`u64::MAX`). `counted` is
    /// the number of the measurement in which it was counted last.
    pub(super) fn received(&mut self, cursor: u64, counted: &mut u32) {
        let Some((end, since, waiting)) = &mut self.message else { return };
        if *counted == self.number || cursor < *end {
            return;
        }
        *counted = self.number;
        *waiting -= 1;
        if *waiting == 0 {
            let time = since.elapsed();
            self.message = None;
            // A subscriber that is dropped by a panic calls this, too. A second panic would end the
            // program. The panic hook has logged it.
            catch(|| self.report.iter().for_each(|report| report(time)));
        }
    }
}

impl fmt::Debug for DeliveryTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryTimer").field("message", &self.message).finish_non_exhaustive()
    }
}
