//! Tests of counter-server through the real binary. counter-cluster runs some of them, too, because
//! one server of it behaves like this one. Each crate has a `tests/it/start.rs` of its own.

/// Invalid events: only the sender receives an error.
mod bad_events;
/// The protocol: which clients receive which events, in which order.
mod counter;
/// Peers that have vanished, or do not answer.
#[cfg(target_os = "linux")]
mod dead_peers;
/// Floods of messages, pings and invalid events.
#[cfg(target_os = "linux")]
mod floods;
/// Frames that violate the protocol, or are too large.
mod frames;
/// Helpers of several tests.
mod helpers;
/// All ways to disconnect without a closing handshake.
#[cfg(target_os = "linux")]
mod leaving;
/// No file descriptor is left, or no connection slot.
#[cfg(target_os = "linux")]
mod limits;
/// A client that the other clients must not disturb.
#[cfg(target_os = "linux")]
mod observer;
/// A hundred thousand random messages and frames.
mod random;
/// SIGTERM under load.
#[cfg(target_os = "linux")]
mod shutdown;
/// Slow clients.
#[cfg(target_os = "linux")]
mod slow_readers;

use helpers::*;
