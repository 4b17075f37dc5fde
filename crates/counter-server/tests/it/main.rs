//! Tests of counter-server through the real binary. counter-cluster runs some of them, too, because
//! one server of it behaves like this one. Each crate has a `tests/it/start.rs` of its own.

/// Bad events: an error to the sender, and nothing else.
mod bad_events;
/// The protocol: who hears what, in which order.
mod counter;
/// Peers that are there no more, or as good as.
#[cfg(target_os = "linux")]
mod dead_peers;
/// More of everything than anybody needs.
#[cfg(target_os = "linux")]
mod floods;
/// Frames that break the protocol, or claim and cost too much.
mod frames;
/// What the tests share.
mod helpers;
/// All the ways to leave but the polite one.
#[cfg(target_os = "linux")]
mod leaving;
/// No descriptor left, or no place.
#[cfg(target_os = "linux")]
mod limits;
/// A client that must notice nothing of what the others do.
#[cfg(target_os = "linux")]
mod observer;
/// A hundred thousand messages and frames that nobody thought of.
mod random;
/// SIGTERM under load.
#[cfg(target_os = "linux")]
mod shutdown;
/// Readers that fall behind.
#[cfg(target_os = "linux")]
mod slow_readers;

use helpers::*;
