//! talk connects again when the server is back.

use futures_util::{SinkExt, StreamExt};
use testing::{free_port, soon};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tungstenite::Message;

use crate::{accept, start};

#[tokio::test]
async fn it_comes_back_after_a_kill_and_says_each_try() {
    let address = ("127.0.0.1", free_port());
    let listener = TcpListener::bind(address).await.unwrap();
    let url = format!("ws://127.0.0.1:{}", address.1);
    let mut talk = start(&[&url, "--reconnect", "--wait", "0"]);
    let mut input = talk.stdin.take().unwrap();
    let mut stderr = BufReader::new(talk.stderr.take().unwrap()).lines();
    let mut next = async || soon("a line", stderr.next_line()).await.unwrap().unwrap();

    let socket = accept(&listener).await;
    drop((socket, listener));
    assert!(next().await.contains("ended the connection without closing it"));
    let pause = next().await;
    assert!(pause.starts_with("trying again in ") && pause.ends_with(" s"), "{pause}");
    // At least one attempt finds no server.
    assert!(next().await.contains("connection refused"));
    assert!(next().await.starts_with("trying again in "));

    let listener = TcpListener::bind(address).await.unwrap();
    let mut socket = accept(&listener).await;
    input.write_all(b"still me\n").await.unwrap();
    let message = soon("a message", socket.next()).await.unwrap().unwrap();
    assert_eq!(message, Message::text("still me"));

    // talk also connects again after a close frame.
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    drop(socket);
    let mut socket = accept(&listener).await;
    socket.send(Message::text("welcome back")).await.unwrap();
    drop(input);
    while let Some(Ok(_)) = socket.next().await {}
    drop(socket);
    let output = soon("the end", talk.wait_with_output()).await.unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"< welcome back\n");
}
