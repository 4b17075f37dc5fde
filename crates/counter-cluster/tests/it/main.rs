//! One server of the cluster behaves like counter-server: the same tests of the protocol.

/// Bad events: an error to the sender, and nothing else.
#[path = "../../../counter-server/tests/it/bad_events.rs"]
mod bad_events;
/// The protocol: which events a client receives, in which order.
#[path = "../../../counter-server/tests/it/counter.rs"]
mod counter;
/// What the tests share.
#[path = "../../../counter-server/tests/it/helpers.rs"]
mod helpers;

use helpers::*;
