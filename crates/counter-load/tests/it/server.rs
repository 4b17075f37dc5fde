use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Notify, broadcast, mpsc};
use tokio_tungstenite::accept_async;
use tungstenite::Message;

/// The behaviour of the server towards client number 2. The first client is number 0.
#[derive(Clone, Copy, PartialEq)]
pub enum Behavior {
    Good,
    /// When the value first reaches this one, another client seems to click once, with this step.
    OtherClientClicks(i64, i64),
    /// Does not send the value 17.
    Skips,
    /// Sends 18 before 17.
    Swaps,
    /// Disconnects after the value 17.
    Disconnects,
    /// Ignores all clicks of all clients after the value 17.
    IgnoresClicks,
    /// Sends events of another protocol to all clients.
    SendsOtherEvents,
}

/// A counter server, for as long as the test runs.
pub struct Server {
    pub url: String,
    /// The close code of each client that has sent a close frame.
    pub close_codes: mpsc::UnboundedReceiver<u16>,
    /// Notified of every `plus`.
    #[cfg_attr(not(unix), allow(dead_code, reason = "of use where there are signals"))]
    pub plus_clicked: Arc<Notify>,
}

struct Shared {
    behavior: Behavior,
    users: AtomicUsize,
    /// The click of the other client has been made.
    other_has_clicked: AtomicBool,
    value: Mutex<i64>,
    events: broadcast::Sender<String>,
    close_codes: mpsc::UnboundedSender<u16>,
    plus_clicked: Arc<Notify>,
}

pub async fn start(behavior: Behavior) -> Server {
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (send, close_codes) = mpsc::unbounded_channel();
    let plus_clicked = Arc::new(Notify::new());
    let shared = Arc::new(Shared {
        behavior,
        users: AtomicUsize::new(0),
        other_has_clicked: AtomicBool::new(false),
        value: Mutex::new(0),
        events: broadcast::channel(100_000).0,
        close_codes: send,
        plus_clicked: plus_clicked.clone(),
    });
    tokio::spawn(async move {
        loop {
            tokio::spawn(client(listener.accept().await.unwrap().0, shared.clone()));
        }
    });
    Server { url, close_codes, plus_clicked }
}

async fn client(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).unwrap();
    let mut socket = accept_async(stream).await.unwrap();
    if shared.behavior == Behavior::SendsOtherEvents {
        _ = socket.send(r#"{"type":"weather","rain":true}"#.into()).await;
    }
    // The lock makes sure that the new client receives each event after this snapshot, and none
    // before it.
    let value = shared.value.lock().await;
    let me = shared.users.fetch_add(1, Ordering::SeqCst);
    let mut events = shared.events.subscribe();
    let users = format!(r#"{{"type":"users","count":{}}}"#, me + 1);
    let state = format!(r#"{{"type":"state","value":{}}}"#, *value);
    for text in [users.clone(), state] {
        _ = socket.feed(text.into()).await;
    }
    _ = shared.events.send(users);
    drop(value);
    _ = socket.flush().await;

    let mut held = None;
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(action))) => {
                    let mut value = shared.value.lock().await;
                    if *value == 17 && shared.behavior == Behavior::IgnoresClicks {
                        continue;
                    }
                    if action.contains("plus") {
                        *value += 1;
                        shared.plus_clicked.notify_one();
                    } else {
                        *value -= 1;
                    }
                    _ = shared.events.send(format!(r#"{{"type":"state","value":{value}}}"#));
                    if let Behavior::OtherClientClicks(at, step) = shared.behavior
                        && *value == at
                        && !shared.other_has_clicked.swap(true, Ordering::SeqCst)
                    {
                        *value += step;
                        _ = shared.events.send(format!(r#"{{"type":"state","value":{value}}}"#));
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    _ = shared.close_codes.send(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                _ => return,
            },
            text = events.recv() => {
                let text = text.unwrap();
                let is_17 = me == 2 && text.contains(":17}");
                if is_17 && shared.behavior == Behavior::Skips {
                    continue;
                }
                if is_17 && shared.behavior == Behavior::Swaps {
                    held = Some(text);
                    continue;
                }
                _ = socket.send(text.into()).await;
                if let Some(text) = held.take() {
                    _ = socket.send(text.into()).await;
                }
                if is_17 && shared.behavior == Behavior::Disconnects {
                    return;
                }
            }
        }
    }
}
