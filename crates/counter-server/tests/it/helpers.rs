use serde_json::{Value, json};
use testing::{Peer, Program};

include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/start.rs"));

pub async fn start(flags: &[&str]) -> Server {
    start_by(&[], &[&["localhost:0"], flags].concat()).await
}

pub fn users(count: u64) -> Value {
    json!({"type": "users", "count": count})
}

pub fn state(value: i64) -> Value {
    json!({"type": "state", "value": value})
}

pub async fn event(peer: &mut Peer) -> Value {
    serde_json::from_str(&peer.text().await).unwrap()
}

/// Connects and reads the first two messages.
pub async fn join(server: &Program, count: u64, value: i64) -> Peer {
    let mut peer = Peer::connect(&server.url()).await;
    assert_eq!(event(&mut peer).await, users(count));
    assert_eq!(event(&mut peer).await, state(value));
    peer
}
