//! Whether everyone got what they should have got.

use serde::Serialize;

use crate::crowd::Crowd;
use crate::ledger::{Ledger, SOMEBODY_ELSE};

/// The warm-up's clicks are checked, too.
#[derive(Default, Serialize)]
pub struct Checks {
    /// Nothing is wrong, and the run did not break off.
    pub passed: bool,
    pub clients: usize,
    pub clicks: u64,
    /// Clicks, made or due, that not every client has heard of.
    pub missing: usize,
    pub skipped: u64,
    pub clients_that_skipped: usize,
    pub backwards: u64,
    pub repeated: u64,
    pub unasked: u64,
    /// Clients that did not get the last value.
    pub behind: usize,
    /// The value that all have in the end; none if they differ.
    pub end_value: Option<i64>,
}

impl Checks {
    /// The checks of the runs of `crowd`.
    pub fn of(ledgers: &[&Ledger], crowd: &Crowd) -> Self {
        let mut checks = Self { clients: crowd.clients.len(), ..Self::default() };
        for ledger in ledgers {
            let (skipped, clients) = ledger.skipped();
            checks.skipped += skipped;
            checks.clients_that_skipped = checks.clients_that_skipped.max(clients);
            checks.clicks += ledger.sent;
            checks.missing += ledger.missing();
            checks.backwards += ledger.faults.backwards;
            checks.repeated += ledger.faults.repeated;
            checks.unasked += ledger.faults.unasked;
            checks.behind = ledger.behind();
        }
        let first = crowd.clients.first().map(|client| client.value);
        checks.end_value =
            first.filter(|first| crowd.clients.iter().all(|client| client.value == *first));
        checks
    }

    /// The gravest of what is wrong. A repeated value is harmless.
    pub fn problem(&self) -> Option<String> {
        let sentence = if self.unasked > 0 {
            SOMEBODY_ELSE.into()
        } else if self.backwards > 0 {
            format!("an older value came after a newer one {} times", self.backwards)
        } else if self.skipped > 0 {
            let Self { skipped, clients_that_skipped, clients, .. } = self;
            format!(
                "{clients_that_skipped} of {clients} clients skipped {skipped} values; try fewer clicks"
            )
        } else if self.missing > 0 {
            format!("{} of {} clicks did not reach every client", self.missing, self.clicks)
        } else if self.end_value.is_none() {
            "the clients did not end at the same value".into()
        } else {
            return None;
        };
        Some(sentence)
    }
}
