//! The conversation: the prompt, the messages, the output, and the end.

use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use testing::{run, soon};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_tungstenite::{WebSocketStream, accept_async};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message};

use crate::{EXE, converse, failed, text};

const PROMPT: &str = "What's your name? ";

#[tokio::test]
async fn the_greeting_is_printed_then_closed_with_1000() {
    let (client, closed) = converse("Ada\n", async |mut socket| {
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("Ada"));
        socket.send(Message::text("Hello Ada!")).await.unwrap();
        socket.next().await.unwrap().unwrap()
    })
    .await;
    assert_eq!(text(&client.stdout), format!("{PROMPT}> Ada\n< Hello Ada!\n"));
    assert_eq!(text(&client.stderr), "");
    assert!(client.status.success());
    let frame = CloseFrame { code: 1000.into(), reason: "".into() };
    assert_eq!(closed, Message::Close(Some(frame)));
}

#[tokio::test]
async fn an_empty_or_unterminated_line_is_a_name() {
    for (input, name) in [("\n", ""), ("Zoë 🦀", "Zoë 🦀"), ("Ada\r\n", "Ada")] {
        let (client, heard) = converse(input, async |mut socket| {
            let name = socket.next().await.unwrap().unwrap();
            socket.send(Message::text("Hello!")).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
            name
        })
        .await;
        assert_eq!(heard, Message::text(name));
        assert!(client.status.success());
    }
}

#[tokio::test]
async fn control_characters_of_the_greeting_are_escaped() {
    let (client, ()) = converse("Ada\n", async |mut socket| {
        socket.next().await.unwrap().unwrap();
        socket.send(Message::text("\u{1b}[2Jgone\n")).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    assert_eq!(text(&client.stdout), format!("{PROMPT}> Ada\n< \\u{{1b}}[2Jgone\\n\n"));
}

#[tokio::test]
async fn end_of_input_at_prompt_closes_with_1000() {
    let (client, last) = converse("", async |mut socket| socket.next().await).await;
    assert_eq!(text(&client.stdout), PROMPT);
    failed(&client, "the input ended at the prompt; type a name and press Enter");
    assert!(matches!(last, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1000));
}

/// A client at its prompt, and the server's side of its connection.
async fn at_the_prompt() -> (Child, WebSocketStream<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let client = Command::new(EXE)
        .arg(&url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (stream, _) = soon("the client", listener.accept()).await.unwrap();
    let socket = accept_async(stream).await.unwrap();
    (client, socket)
}

#[tokio::test]
async fn pings_are_answered_while_the_person_thinks() {
    let (mut client, mut socket) = at_the_prompt().await;
    socket.send(Message::Ping("still there?".into())).await.unwrap();
    let pong = soon("the pong", socket.next()).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("still there?".into()));
    client.stdin.take().unwrap().write_all(b"Ada\n").await.unwrap();
    assert_eq!(soon("the name", socket.next()).await.unwrap().unwrap(), Message::text("Ada"));
}

#[tokio::test]
async fn a_close_at_the_prompt_ends_the_client() {
    let (mut client, mut socket) = at_the_prompt().await;
    // Keep the input open until the client has ended, because its end would be another reason.
    let stdin = client.stdin.take();
    let frame = CloseFrame { code: 1001.into(), reason: "bye\n".into() };
    socket.close(Some(frame)).await.unwrap();
    while let Some(Ok(_)) = soon("the end", socket.next()).await {}
    drop(socket);
    let output = soon("the client's end", client.wait_with_output()).await.unwrap();
    drop(stdin);
    failed(&output, "the server closed the connection too early: 1001 bye\\n");
}

#[tokio::test]
async fn a_close_frame_counts_before_tcp_ends() {
    let frame = CloseFrame { code: 1011.into(), reason: "because".into() };
    for name in [None, Some("Ada\n")] {
        let (mut client, mut socket) = at_the_prompt().await;
        let mut stdin = client.stdin.take().unwrap();
        if let Some(name) = name {
            stdin.write_all(name.as_bytes()).await.unwrap();
            soon("the name", socket.next()).await.unwrap().unwrap();
        }
        socket.close(Some(frame.clone())).await.unwrap();
        let output = soon("the client's end", client.wait_with_output()).await.unwrap();
        failed(&output, "the server closed the connection too early: 1011 because");
        drop((socket, stdin));
    }
}

#[tokio::test]
async fn an_early_close_is_reported_with_its_code() {
    // The client may see the close frame before, while or after it sends the name.
    for _ in 0..20 {
        let (client, ()) = converse("Ada\n", async |mut socket| {
            let frame = CloseFrame { code: 1013.into(), reason: "full".into() };
            socket.close(Some(frame)).await.unwrap();
        })
        .await;
        failed(&client, "the server closed the connection too early: 1013 full");
    }
}

#[tokio::test]
async fn an_unexpected_message_is_one_line() {
    for (message, says) in [
        (Message::binary(vec![1]), "the server sent binary data"),
        (Message::Close(None), "the server closed the connection too early"),
    ] {
        let (client, ()) = converse("Ada\n", async |mut socket| {
            socket.next().await.unwrap().unwrap();
            socket.send(message).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
        })
        .await;
        failed(&client, says);
    }
}

#[tokio::test]
async fn a_refused_connection_is_one_sentence() {
    let url = format!("ws://127.0.0.1:{}", testing::free_port());
    let output = run(EXE, &[&url], "Ada\n").await;
    failed(
        &output,
        &format!("cannot connect to {url}: connection refused; start the server first"),
    );
    assert_eq!(text(&output.stdout), "");
}

#[tokio::test]
async fn an_invalid_url_is_one_line() {
    for url in ["localhost:8765", "http://localhost:8765", "ws://", "ws://local host", ""] {
        failed(&run(EXE, &[url], "Ada\n").await, "is not a WebSocket URL");
    }
    failed(&run(EXE, &["wss://localhost:8765"], "Ada\n").await, "use wss-client");
    failed(&run(EXE, &["ws://no-such-host.invalid"], "Ada\n").await, "is it the right address?");
}

#[tokio::test]
async fn a_silent_server_times_out_after_open_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let began = Instant::now();
    let output = run(EXE, &[&url], "Ada\n").await;
    failed(&output, "within 10 s");
    assert!(began.elapsed() > Duration::from_secs(9));
}

#[tokio::test]
async fn every_address_of_the_host_is_tried() {
    // The server listens on one family only. If localhost has both, one of the two refuses the
    // connection.
    for address in tokio::net::lookup_host("localhost:0").await.unwrap() {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("ws://localhost:{}", listener.local_addr().unwrap().port());
        let args = [url.as_str()];
        let server = async {
            let (stream, _) = soon("the client", listener.accept()).await.unwrap();
            let mut socket = accept_async(stream).await.unwrap();
            socket.next().await.unwrap().unwrap();
            socket.send(Message::text("Hello!")).await.unwrap();
            while let Some(Ok::<_, Error>(_)) = socket.next().await {}
        };
        let (output, ()) = tokio::join!(run(EXE, &args, "Ada\n"), server);
        assert!(output.status.success(), "{address}: {}", text(&output.stderr));
    }
}
