//! Tests of chat-server through the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test, a panic is a failure"
)]

/// Who is let in, and where.
mod doors;
/// What the server does when one says too much, or what cannot be said.
mod floods;
/// What Prometheus is told.
mod metrics;
/// Who comes back gets what it missed, or is told that there is a gap.
mod missed;
/// What is left after a kill -9.
#[cfg(unix)]
mod restarts;
/// Who hears what, in which order.
mod rooms;

use std::path::PathBuf;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use futures_util::SinkExt;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use testing::{Peer, Program, soon};
use tokio_tungstenite::connect_async;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Error, Message};

const EXE: &str = env!("CARGO_BIN_EXE_chat-server");

/// A chat server with a folder of its own, and a client's view of it.
struct Chat {
    server: Program,
    folder: PathBuf,
    flags: Vec<String>,
}

impl Chat {
    async fn start(flags: &[&str]) -> Self {
        let folder = folder();
        let flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
        Self { server: start(&folder, &flags).await, folder, flags }
    }

    /// Kills the server without warning, and starts it again with the same folder.
    async fn kill_and_restart(&mut self) {
        self.server.kill().await;
        self.server = start(&self.folder, &self.flags).await;
    }

    /// A pass that holds for an hour.
    fn pass(&self, room: &str, name: &str) -> String {
        self.pass_for(room, name, 3600)
    }

    /// A pass that holds for so many seconds from now on, signed with the server's key.
    fn pass_for(&self, room: &str, name: &str, seconds: i64) -> String {
        let key = std::fs::read(self.folder.join("key")).unwrap();
        sign(&key, &json!({"room": room, "name": name, "expires": now() / 1000 + seconds}))
    }

    /// Asks for a WebSocket; the status of the answer when it is refused.
    async fn knock(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Peer, u16> {
        let mut request = format!("{}{path}", self.server.url()).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match soon("a connect", connect_async(request)).await {
            Ok((socket, _)) => Ok(Peer(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Comes into a room.
    async fn visit(&self, room: &str, name: &str) -> Peer {
        self.visit_since(room, name, "").await
    }

    /// Comes back, with a query.
    async fn visit_since(&self, room: &str, name: &str, query: &str) -> Peer {
        let cookie = format!("other=1; chat={}", self.pass(room, name));
        let path = format!("/rooms/{room}{query}");
        self.knock(&path, &[("Cookie", &cookie)]).await.ok().unwrap()
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A folder that is not there yet.
fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    folder.join(format!("chat-{:016x}", fastrand::u64(..)))
}

async fn start(folder: &std::path::Path, flags: &[String]) -> Program {
    let mut args = vec!["localhost:0", "--data", folder.to_str().unwrap()];
    args.extend(flags.iter().map(String::as_str));
    Program::start(EXE, &args).await
}

fn sign(key: &[u8], pass: &Value) -> String {
    let pass = pass.to_string();
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(&pass);
    format!("{}.{}", BASE64.encode(pass), BASE64.encode(mac.finalize().into_bytes()))
}

/// Milliseconds since 1970.
fn now() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}

async fn event(peer: &mut Peer) -> Value {
    serde_json::from_str(&peer.text().await).unwrap()
}

/// The next event of a type.
async fn next(peer: &mut Peer, kind: &str) -> Value {
    loop {
        let event = event(peer).await;
        if event["type"] == kind {
            return event;
        }
        assert_ne!(event["type"], "error", "{event}");
    }
}

/// All events up to and with the first list of who is here: the greeting.
async fn greeting(peer: &mut Peer) -> Vec<Value> {
    let mut events = vec![event(peer).await];
    while events.last().unwrap()["type"] != "here" {
        events.push(event(peer).await);
    }
    events
}

/// The texts of those events that are messages.
fn texts(events: &[Value]) -> Vec<String> {
    let messages = events.iter().filter(|event| event["type"] == "message");
    messages.map(|message| message["text"].as_str().unwrap().to_owned()).collect()
}

fn line(id: impl ToString, text: &str) -> Message {
    json!({"id": id.to_string(), "text": text}).to_string().into()
}

/// Says lines with the texts `from` to `to`, which are their ids too, and waits until each is
/// heard. Returns the last number.
async fn say(peer: &mut Peer, from: usize, to: usize) -> i64 {
    for n in from..=to {
        peer.0.feed(line(n, &n.to_string())).await.unwrap();
    }
    peer.flush().await;
    let mut number = 0;
    for n in from..=to {
        let message = next(peer, "message").await;
        assert_eq!(message["text"], n.to_string());
        number = message["number"].as_i64().unwrap();
    }
    number
}
