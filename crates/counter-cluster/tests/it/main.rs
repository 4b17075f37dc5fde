//! One server of the cluster behaves like counter-server: the same tests of the protocol.

/// Invalid events: only the sender receives an error.
#[path = "../../../counter-server/tests/it/bad_events.rs"]
mod bad_events;
/// The protocol: which events a client receives, in which order.
#[path = "../../../counter-server/tests/it/counter.rs"]
mod counter;
/// Helpers of several tests.
#[path = "../../../counter-server/tests/it/helpers.rs"]
mod helpers;

use helpers::*;
