//! Signals close the connection.

use futures_util::{SinkExt, StreamExt};
use rustix::process::{Pid, Signal, kill_process};
use testing::soon;
use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::{Server, accept, ended, listen, start};

/// A talk that has connected and received a message, and the server's side.
async fn connected() -> (Child, Server) {
    let (listener, url) = listen().await;
    let mut talk = start(&[&url]);
    let mut socket = accept(&listener).await;
    socket.send(Message::text("ready")).await.unwrap();
    let mut ready = [0; 8];
    soon("a line", talk.stdout.as_mut().unwrap().read_exact(&mut ready)).await.unwrap();
    assert_eq!(ready, *b"< ready\n");
    (talk, socket)
}

fn send(talk: &Child, signal: Signal) {
    kill_process(Pid::from_raw(talk.id().unwrap() as i32).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn a_signal_closes_with_1000_and_status_0() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (talk, mut socket) = connected().await;
        send(&talk, signal);
        let last = soon("a close", socket.next()).await.unwrap().unwrap();
        assert!(matches!(last, Message::Close(Some(CloseFrame { code: CloseCode::Normal, .. }))));
        while let Some(Ok(_)) = socket.next().await {}
        drop(socket);
        let output = soon("the end", talk.wait_with_output()).await.unwrap();
        assert_eq!(ended(&output), (Some(0), "", "closed: 1000, OK\n"));
    }
}

#[tokio::test]
async fn a_second_signal_ends_talk_at_once() {
    let (talk, mut socket) = connected().await;
    send(&talk, Signal::INT);
    // The server reads the close frame, but never answers it.
    let mut closed = [0; 8];
    soon("a close", socket.get_mut().read_exact(&mut closed)).await.unwrap();
    let began = std::time::Instant::now();
    send(&talk, Signal::INT);
    let output = soon("the end", talk.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(began.elapsed().as_secs() < 5);
}

#[tokio::test]
async fn a_signal_ends_an_attempt_to_connect() {
    let (listener, url) = listen().await;
    let talk = start(&[&url]);
    let (_stream, _) = soon("the client", listener.accept()).await.unwrap();
    send(&talk, Signal::TERM);
    let output = soon("the end", talk.wait_with_output()).await.unwrap();
    assert_eq!(ended(&output), (Some(0), "", ""));
}
