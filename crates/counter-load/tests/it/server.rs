use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Notify, broadcast, mpsc};
use tokio_tungstenite::accept_async;
use tungstenite::Message;

/// How the server treats client number 2; clients count from 0.
#[derive(Clone, Copy, PartialEq)]
pub enum Manners {
    Good,
    /// As soon as the value is this one, somebody else clicks, once, with this step.
    Shared(i64, i64),
    /// Keeps the value 17 to itself.
    Skips,
    /// Says 18 before 17.
    Swaps,
    /// Leaves after the value 17.
    Leaves,
    /// Takes no click after the value 17, from nobody.
    Deaf,
    /// Speaks of something else, to everyone.
    Babbles,
}

/// A counter server, for as long as the test runs.
pub struct Server {
    pub url: String,
    /// The close code of each client that has said goodbye.
    pub goodbyes: mpsc::UnboundedReceiver<u16>,
    /// Told of every plus.
    #[cfg_attr(not(unix), allow(dead_code, reason = "of use where there are signals"))]
    pub plus: Arc<Notify>,
}

struct Room {
    manners: Manners,
    users: AtomicUsize,
    /// Whether somebody else has clicked.
    shared: AtomicBool,
    value: Mutex<i64>,
    news: broadcast::Sender<String>,
    goodbyes: mpsc::UnboundedSender<u16>,
    plus: Arc<Notify>,
}

pub async fn start(manners: Manners) -> Server {
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let (send, goodbyes) = mpsc::unbounded_channel();
    let plus = Arc::new(Notify::new());
    let room = Arc::new(Room {
        manners,
        users: AtomicUsize::new(0),
        shared: AtomicBool::new(false),
        value: Mutex::new(0),
        news: broadcast::channel(100_000).0,
        goodbyes: send,
        plus: plus.clone(),
    });
    tokio::spawn(async move {
        loop {
            tokio::spawn(client(listener.accept().await.unwrap().0, room.clone()));
        }
    });
    Server { url, goodbyes, plus }
}

async fn client(stream: TcpStream, room: Arc<Room>) {
    stream.set_nodelay(true).unwrap();
    let mut socket = accept_async(stream).await.unwrap();
    if room.manners == Manners::Babbles {
        _ = socket.send(r#"{"type":"weather","rain":true}"#.into()).await;
    }
    // What is said after this is for the newcomer, too, and nothing that was said before.
    let value = room.value.lock().await;
    let me = room.users.fetch_add(1, Ordering::SeqCst);
    let mut news = room.news.subscribe();
    let users = format!(r#"{{"type":"users","count":{}}}"#, me + 1);
    let state = format!(r#"{{"type":"state","value":{}}}"#, *value);
    for text in [users.clone(), state] {
        _ = socket.feed(text.into()).await;
    }
    _ = room.news.send(users);
    drop(value);
    _ = socket.flush().await;

    let mut held = None;
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(action))) => {
                    let mut value = room.value.lock().await;
                    if *value == 17 && room.manners == Manners::Deaf {
                        continue;
                    }
                    if action.contains("plus") {
                        *value += 1;
                        room.plus.notify_one();
                    } else {
                        *value -= 1;
                    }
                    _ = room.news.send(format!(r#"{{"type":"state","value":{value}}}"#));
                    if let Manners::Shared(at, step) = room.manners
                        && *value == at
                        && !room.shared.swap(true, Ordering::SeqCst)
                    {
                        *value += step;
                        _ = room.news.send(format!(r#"{{"type":"state","value":{value}}}"#));
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    _ = room.goodbyes.send(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                _ => return,
            },
            text = news.recv() => {
                let text = text.unwrap();
                let is_17 = me == 2 && text.contains(":17}");
                if is_17 && room.manners == Manners::Skips {
                    continue;
                }
                if is_17 && room.manners == Manners::Swaps {
                    held = Some(text);
                    continue;
                }
                _ = socket.send(text.into()).await;
                if let Some(text) = held.take() {
                    _ = socket.send(text.into()).await;
                }
                if is_17 && room.manners == Manners::Leaves {
                    return;
                }
            }
        }
    }
}
