//! The pattern of axum's chat example: a broadcast channel, and two tasks for each connection. Its
//! channel is larger than the example's 100, because a client that lags by more receives nothing
//! more.

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::{Router, routing::get};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast::{self, error::RecvError};

#[tokio::main]
async fn main() {
    let (room, _) = broadcast::channel::<String>(4096);
    let chat = |upgrade: WebSocketUpgrade, State(room)| async {
        upgrade.on_upgrade(|socket| talk(socket, room))
    };
    let app = Router::new().route("/rooms/lobby", get(chat)).with_state(room);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on ws://{}", listener.local_addr().unwrap());
    axum::serve(listener, app).await.unwrap();
}

async fn talk(socket: WebSocket, room: broadcast::Sender<String>) {
    let (mut to, mut from) = socket.split();
    let mut heard = room.subscribe();
    let mut tell = tokio::spawn(async move {
        loop {
            match heard.recv().await {
                Ok(text) => {
                    if to.send(Message::text(text)).await.is_err() {
                        return;
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    });
    let mut listen = tokio::spawn(async move {
        while let Some(Ok(Message::Text(text))) = from.next().await {
            _ = room.send(format!("Ada: {text}"));
        }
    });
    tokio::select! {
        _ = &mut tell => listen.abort(),
        _ = &mut listen => tell.abort(),
    }
}
