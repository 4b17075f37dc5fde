//! Checks that every client has received every value in order.

use serde::Serialize;

use crate::pool::ClientPool;
use crate::recorder::{OTHER_CLIENT, Recorder};

/// The result of the checks, which include the clicks of the warm-up.
#[derive(Default, Serialize)]
pub struct Checks {
    /// No check failed, and the run reached its end.
    pub passed: bool,
    pub clients: usize,
    pub clicks: u64,
    /// The number of clicks, made or due, whose values some clients have not received.
    pub missing: usize,
    pub skipped: u64,
    pub clients_that_skipped: usize,
    pub backwards: u64,
    pub repeated: u64,
    /// Values that no click of ours has made.
    pub unasked: u64,
    /// The number of clients that did not receive the last value.
    pub behind: usize,
    /// The last value of all clients. `None` if it is not the same for all.
    pub end_value: Option<i64>,
}

impl Checks {
    /// Checks the runs of these clients.
    pub fn of(recorders: &[&Recorder], pool: &ClientPool) -> Self {
        let mut checks = Self { clients: pool.clients.len(), ..Self::default() };
        for recorder in recorders {
            let skipped = recorder.records.iter().map(|record| record.skipped).filter(|n| *n > 0);
            checks.skipped += skipped.clone().sum::<u64>();
            checks.clients_that_skipped = checks.clients_that_skipped.max(skipped.count());
            checks.clicks += recorder.clicks;
            checks.missing += recorder.missing();
            checks.backwards += recorder.backwards;
            checks.repeated += recorder.repeated;
            checks.unasked += recorder.unexpected;
            checks.behind = recorder.behind();
        }
        let first = pool.clients.first().and_then(|client| client.value);
        checks.end_value = first.filter(|_| pool.clients.iter().all(|c| c.value == first));
        checks
    }

    /// The error message for the most serious failure. A repeated value is not a failure.
    pub fn problem(&self) -> Option<String> {
        Some(if self.unasked > 0 {
            OTHER_CLIENT.into()
        } else if self.backwards > 0 {
            format!("an older value came after a newer one {} times", self.backwards)
        } else if self.skipped > 0 {
            let Self { clients_that_skipped: some, clients, skipped, .. } = self;
            format!("{some} of {clients} clients skipped {skipped} values; try fewer clicks")
        } else if self.missing > 0 {
            format!("{} of {} clicks did not reach every client", self.missing, self.clicks)
        } else if self.end_value.is_none() {
            "the clients did not end at the same value".into()
        } else {
            return None;
        })
    }
}
