//! Tests of chat-server through the real binary.

/// The server allows a client with a valid token, and rejects every other client.
mod access;
/// The server limits clients that send too much, and rejects invalid messages.
mod floods;
/// An invitation is exchanged for a cookie, once.
mod invitations;
/// Prometheus receives the metrics.
mod metrics;
/// A client that reconnects receives the messages that it missed, or a gap event.
mod missed;
/// The messages survive a kill -9.
#[cfg(unix)]
mod restarts;
/// Everyone in a room receives the same events in the same order.
mod rooms;
/// The server can be backed up, and survives a failing database and a wrong clock.
mod storage;

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

/// A chat server with a folder of its own, and functions to connect to it.
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

    /// A token that expires in an hour.
    fn token(&self, room: &str, name: &str) -> String {
        self.token_for(room, name, 3600)
    }

    /// A token that expires in so many seconds, signed with the server's key.
    fn token_for(&self, room: &str, name: &str, seconds: i64) -> String {
        let key = std::fs::read(self.folder.join("key")).unwrap();
        sign(&key, &json!({"room": room, "name": name, "expires": now() / 1000 + seconds}))
    }

    /// Opens a WebSocket. If the server rejects it, returns the HTTP status.
    async fn connect(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Peer, u16> {
        let mut request = format!("{}{path}", self.server.url()).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        match soon("a connect", connect_async(request)).await {
            Ok((socket, _)) => Ok(Peer(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Joins a room.
    async fn join(&self, room: &str, name: &str) -> Peer {
        self.rejoin(room, name, "").await
    }

    /// Joins a room again, with a query.
    async fn rejoin(&self, room: &str, name: &str, query: &str) -> Peer {
        let bearer = format!("Bearer {}", self.token(room, name));
        let path = format!("/rooms/{room}{query}");
        self.connect(&path, &[("Authorization", &bearer)]).await.ok().unwrap()
    }

    /// Asks for a room without an upgrade, with these lines in the head. Returns the response.
    async fn ask(&self, room: &str, lines: &str) -> String {
        let request = format!("GET /rooms/{room} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
        testing::http(self.server.address, &request).await
    }

    /// The name of the cookie that the server uses.
    async fn cookie_name(&self) -> String {
        let bearer = self.token("lobby", "Ada");
        let lines = format!("Authorization: Bearer {bearer}\r\nChat-Login: cookie\r\n");
        cookie(&self.ask("lobby", &lines).await).split_once('=').unwrap().0.to_owned()
    }

    /// Runs the program with the server's folder and more flags. Returns its first line of output.
    async fn print(&self, flags: &[&str]) -> String {
        let args = [&["--data", self.folder.to_str().unwrap()], flags].concat();
        let out = testing::run(EXE, &args, "").await;
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
    }

    /// The `Chat-Login` header with a new invitation for the lobby.
    async fn invitation(&self, verb: &str, name: &str) -> String {
        let link = self.print(&["--invite", name]).await;
        format!("Chat-Login: {verb} {}\r\n", link.split_once('#').unwrap().1)
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A path for a folder that does not exist yet.
fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    folder.join(format!("chat-{:016x}", fastrand::u64(..)))
}

async fn start(folder: &std::path::Path, flags: &[String]) -> Program {
    let mut args = vec!["localhost:0", "--data", folder.to_str().unwrap()];
    args.extend(flags.iter().map(String::as_str));
    Program::start(EXE, &args).await
}

fn sign(key: &[u8], token: &Value) -> String {
    let payload = token.to_string();
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(&payload);
    format!("{}.{}", BASE64.encode(payload), BASE64.encode(mac.finalize().into_bytes()))
}

/// The content of a token.
fn payload(token: &str) -> Value {
    let payload = token.split_once('.').unwrap().0;
    serde_json::from_slice(&BASE64.decode(payload).unwrap()).unwrap()
}

/// Milliseconds since 1970.
fn now() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}

/// The cookie that a response sets, as NAME=VALUE.
fn cookie(response: &str) -> String {
    let lower = response.to_lowercase();
    let at = lower.find("\r\nset-cookie: ").unwrap_or_else(|| panic!("no cookie: {response}"));
    response[at + 14..].split(';').next().unwrap().to_owned()
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

/// The greeting: all events up to the first `presence` event, which is included.
async fn greeting(peer: &mut Peer) -> Vec<Value> {
    let mut events = vec![event(peer).await];
    while events.last().unwrap()["type"] != "presence" {
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

/// Posts messages with the numbers `from` to `to` as texts and ids, and waits until the sender has
/// received each of them back. Returns the number of the last one.
async fn post(peer: &mut Peer, from: usize, to: usize) -> i64 {
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
