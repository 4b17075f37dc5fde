//! The counter on tokio-tungstenite, after its chat example: a map from each client to an unbounded
//! channel with the events to send to it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use compare::Counter;
use futures_util::{StreamExt, TryStreamExt, future, pin_mut};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::Message;

type Peers = HashMap<SocketAddr, UnboundedSender<Message>>;

fn broadcast(peers: &Peers, event: String) {
    let event = Message::text(event);
    for peer in peers.values() {
        _ = peer.send(event.clone());
    }
}

async fn client(stream: TcpStream, address: SocketAddr, counter: Arc<Counter<Peers>>) {
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let (send, mut events) = unbounded_channel();
    let newcomer = send.clone();
    counter.users(
        |peers| {
            peers.insert(address, send);
            peers.len()
        },
        |peers, users, state| {
            broadcast(peers, users);
            _ = newcomer.send(Message::text(state));
        },
    );
    drop(newcomer);

    let (outgoing, incoming) = socket.split();
    let receive = incoming.try_for_each(|message| {
        if let Ok(text) = message.to_text() {
            counter.act(text, broadcast);
        }
        future::ok(())
    });
    let events = futures_util::stream::poll_fn(move |context| events.poll_recv(context));
    let send = events.map(Ok).forward(outgoing);
    pin_mut!(receive, send);
    future::select(receive, send).await;

    counter.users(
        |peers| {
            peers.remove(&address);
            peers.len()
        },
        |peers, users, _| broadcast(peers, users),
    );
}

#[tokio::main]
async fn main() {
    let counter = Arc::new(Counter::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on ws://{}", listener.local_addr().unwrap());
    while let Ok((stream, address)) = listener.accept().await {
        tokio::spawn(client(stream, address, counter.clone()));
    }
}
