//! Tests of counter-server through the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test, a panic is a failure"
)]

/// Bad events: an error to the sender, and nothing else.
mod bad_events;
/// The protocol: who hears what, in which order.
mod counter;
/// Readers that fall behind.
mod slow_readers;

use serde_json::{Value, json};
use testing::{Peer, Program};

const EXE: &str = env!("CARGO_BIN_EXE_counter-server");

async fn start(flags: &[&str]) -> Program {
    let args = [&["localhost:0"], flags].concat();
    Program::start(EXE, &args).await
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
