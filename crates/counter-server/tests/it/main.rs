//! Tests of counter-server through the real binary, and of counter-cluster: nobody can tell one
//! server of it from this one. Each crate has a `tests/it/start.rs` of its own.

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

use serde_json::{Value, json};
use testing::{Peer, Program};

include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/start.rs"));

async fn start(flags: &[&str]) -> Server {
    start_by(&[], &[&["localhost:0"], flags].concat()).await
}

fn users(count: u64) -> Value {
    json!({"type": "users", "count": count})
}

fn state(value: i64) -> Value {
    json!({"type": "state", "value": value})
}

async fn event(peer: &mut Peer) -> Value {
    serde_json::from_str(&peer.text().await).unwrap()
}

/// Connects and reads the first two messages.
async fn join(server: &Program, count: u64, value: i64) -> Peer {
    let mut peer = Peer::connect(&server.url()).await;
    assert_eq!(event(&mut peer).await, users(count));
    assert_eq!(event(&mut peer).await, state(value));
    peer
}
