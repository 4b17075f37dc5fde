//! The counter on axum, after its chat example: a tokio broadcast channel, and two tasks for each
//! client, one that sends the events of the channel and one that receives.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use compare::Counter;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast;

struct Room {
    counter: Counter<usize>,
    news: broadcast::Sender<Utf8Bytes>,
}

async fn upgrade(upgrade: WebSocketUpgrade, State(room): State<Arc<Room>>) -> Response {
    upgrade.on_upgrade(|socket| client(socket, room))
}

async fn client(socket: WebSocket, room: Arc<Room>) {
    let (mut sender, mut receiver) = socket.split();
    let mut joined = None;
    room.counter.users(
        |users| {
            *users += 1;
            *users
        },
        |_, users, state| {
            let users = Utf8Bytes::from(users);
            _ = room.news.send(users.clone());
            joined = Some((room.news.subscribe(), users, state));
        },
    );
    let Some((mut news, users, state)) = joined else { return };

    let mut send = tokio::spawn(async move {
        if sender.send(Message::Text(users)).await.is_err() {
            return;
        }
        if sender.send(Message::Text(state.into())).await.is_err() {
            return;
        }
        while let Ok(event) = news.recv().await {
            if sender.send(Message::Text(event)).await.is_err() {
                break;
            }
        }
    });
    let here = room.clone();
    let mut receive = tokio::spawn(async move {
        while let Some(Ok(Message::Text(message))) = receiver.next().await {
            here.counter.act(&message, |_, state| _ = here.news.send(state.into()));
        }
    });
    tokio::select! {
        _ = &mut send => receive.abort(),
        _ = &mut receive => send.abort(),
    }

    room.counter.users(
        |users| {
            *users -= 1;
            *users
        },
        |_, users, _| _ = room.news.send(users.into()),
    );
}

#[tokio::main]
async fn main() {
    // Large enough for the `users` events while a thousand clients connect.
    let room = Room { counter: Counter::default(), news: broadcast::channel(16 << 10).0 };
    let app = Router::new().route("/", any(upgrade)).with_state(Arc::new(room));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on ws://{}", listener.local_addr().unwrap());
    axum::serve(listener, app).await.unwrap();
}
