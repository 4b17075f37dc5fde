//! talk connects again when the server is back.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use testing::{free_port, soon};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tungstenite::Message;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};

use crate::{accept, listen, start};

#[tokio::test]
async fn talk_reconnects_after_a_kill() {
    let address = ("127.0.0.1", free_port());
    let listener = TcpListener::bind(address).await.unwrap();
    let url = format!("ws://127.0.0.1:{}", address.1);
    let mut talk = start(&[&url, "--reconnect", "--wait", "0"]);
    let mut input = talk.stdin.take().unwrap();
    let mut stderr = BufReader::new(talk.stderr.take().unwrap()).lines();
    let mut next = async || soon("a line", stderr.next_line()).await.unwrap().unwrap();

    let socket = accept(&listener).await;
    drop((socket, listener));
    assert!(next().await.contains("closed the connection without a close frame"));
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

#[tokio::test]
async fn the_pauses_grow_when_each_connection_is_short() {
    let (listener, url) = listen().await;
    let mut talk = start(&[&url, "--reconnect"]);
    let mut stderr = BufReader::new(talk.stderr.take().unwrap()).lines();
    for step in [1.0, 2.0, 4.0] {
        let mut socket = accept(&listener).await;
        let says = if step == 2.0 {
            // After an invalid frame, talk waits for the answer to its close frame. Here that takes
            // longer than a connection that counts as stable.
            socket.get_mut().write_all(b"\xf0\x00").await.unwrap();
            sleep(Duration::from_secs(6)).await;
            "protocol"
        } else {
            let frame = CloseFrame { code: 1008.into(), reason: "".into() };
            socket.close(Some(frame)).await.unwrap();
            "closed by the server: 1008, policy violation"
        };
        drop(socket);
        let mut next = async || soon("a line", stderr.next_line()).await.unwrap().unwrap();
        let line = next().await;
        assert!(line.contains(says), "{line}");
        let line = next().await;
        let pause = line.strip_prefix("trying again in ").unwrap().strip_suffix(" s").unwrap();
        let pause: f64 = pause.parse().unwrap();
        assert!((step / 2.0..=step).contains(&pause), "{pause} for {step}");
    }
}

#[tokio::test]
async fn it_stops_when_its_output_is_closed() {
    let (listener, url) = listen().await;
    let mut talk = start(&[&url, "--reconnect"]);
    let mut socket = accept(&listener).await;
    drop(talk.stdout.take());
    // talk notices it when it prints, and then it has no connection and no server.
    drop(listener);
    socket.send(Message::text("anybody?")).await.unwrap();
    drop(socket);
    soon("the end", talk.wait()).await.unwrap();
}

#[tokio::test]
async fn a_line_typed_after_the_close_is_sent_later() {
    let (listener, url) = listen().await;
    let mut talk = start(&[&url, "--reconnect"]);
    let mut input = talk.stdin.take().unwrap();
    let mut stderr = BufReader::new(talk.stderr.take().unwrap()).lines();
    let mut closing = accept(&listener).await;
    input.write_all(b"one\n").await.unwrap();
    assert_eq!(soon("one", closing.next()).await.unwrap().unwrap(), Message::text("one"));

    // The server closes and has the answer, but keeps the TCP connection.
    closing.close(None).await.unwrap();
    assert!(soon("the answer", closing.next()).await.unwrap().unwrap().is_close());
    input.write_all(b"two\nthree\n").await.unwrap();
    let line = soon("a line", stderr.next_line()).await.unwrap().unwrap();
    assert_eq!(line, "closed by the server: no code");
    let mut socket = accept(&listener).await;
    for line in ["two", "three"] {
        assert_eq!(soon("a line", socket.next()).await.unwrap().unwrap(), Message::text(line));
    }
    drop(closing);
}

#[tokio::test]
async fn a_line_that_is_half_written_is_sent_again() {
    let (listener, url) = listen().await;
    let mut talk = start(&[&url, "--reconnect", "--wait", "0"]);
    let line = "x".repeat(16 << 20);
    let mut input = talk.stdin.take().unwrap();
    let write = async {
        input.write_all(line.as_bytes()).await.unwrap();
        drop(input);
    };
    let server = async {
        // The server reads a part of the line, and then closes.
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(&mut stream).await.unwrap();
        socket.get_mut().read_exact(&mut [0; 4096]).await.unwrap();
        socket.get_mut().write_all(b"\x88\x02\x03\xf5").await.unwrap();
        // Until talk has given up this connection.
        let (second, _) = listener.accept().await.unwrap();
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        let mut socket =
            tokio_tungstenite::accept_async_with_config(second, Some(config)).await.unwrap();
        let message = socket.next().await.unwrap().unwrap();
        while let Some(Ok(_)) = socket.next().await {}
        message
    };
    let (message, ()) = tokio::join!(soon("the line", server), write);
    assert!(message.into_text().unwrap().as_str() == line);
    let output = soon("the end", talk.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_line_that_is_never_sent_is_reported() {
    use rustix::process::{Pid, Signal, kill_process};

    for (lines, says) in [
        ("two\n", "not sent: \"two\"\n"),
        ("two\n\u{1b}\n", "not sent: \"two\", and the lines after it\n"),
    ] {
        let (listener, url) = listen().await;
        let mut talk = start(&[&url, "--reconnect"]);
        let mut input = talk.stdin.take().unwrap();
        let mut socket = accept(&listener).await;
        drop(listener);
        socket.close(None).await.unwrap();
        let mut stderr = BufReader::new(talk.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("trying again in ") {
            assert!(soon("a line", stderr.read_line(&mut said)).await.unwrap() > 0);
        }
        // talk reads the start of another line only after it has queued these lines.
        for part in [lines, "x"] {
            input.write_all(part.as_bytes()).await.unwrap();
            while rustix::io::ioctl_fionread(&input).unwrap() > 0 {
                tokio::task::yield_now().await;
            }
        }
        kill_process(Pid::from_raw(talk.id().unwrap() as i32).unwrap(), Signal::INT).unwrap();
        let output = soon("the end", talk.wait_with_output()).await.unwrap();
        assert_eq!(crate::ended(&output).0, Some(0));
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).await.unwrap();
        assert!(rest.ends_with(says), "{rest}");
    }
}
