//! A handler that panics, in a real process, whose log the test reads.

use std::process::Stdio;

use clap::Parser;
use testing::{Peer, Raw, frame, soon};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tungstenite::Message;
use websockets::{Flags, Result, Server, Socket};

/// Echoes a text. Panics if it is "panic", or if the message is binary.
async fn handler(socket: &mut Socket) -> Result<()> {
    while let Some(message) = socket.recv().await? {
        match message {
            Message::Text(text) if text == "panic" => panic!("a \u{1b}[31mred panic"),
            Message::Binary(_) => std::panic::panic_any(5),
            message => socket.send(message).await?,
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "the server that the test below starts"]
async fn server() {
    let flags = Flags::parse_from(["server", "127.0.0.1:0"]);
    websockets::log::init();
    Server::new(flags).serve(handler).await.unwrap();
}

#[tokio::test]
async fn a_handler_panic_closes_1011_and_logs_once() {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let url = loop {
        let line = soon("a line", lines.next_line()).await.unwrap().unwrap();
        if let Some(url) = line.strip_prefix("listening on ") {
            break url.to_owned();
        }
    };
    let address = url.strip_prefix("ws://").unwrap().parse().unwrap();

    let mut observer = Peer::connect(&url).await;
    for message in [Message::text("panic"), Message::binary([0].as_slice())] {
        let mut peer = Peer::connect(&url).await;
        peer.send(message).await;
        assert_eq!(peer.closed().await, (1011, "internal server error".into()));
        // This must work in the middle of other messages, too.
        let mut raw = Raw::open(address).await;
        raw.write([frame(0x82, "x"), frame(0x81, "more").repeat(10_000)].concat()).await;
        assert_eq!(raw.close_code().await, Some(1011));
        observer.send("still here").await;
        assert_eq!(observer.text().await, "still here");
    }
    observer.close().await;

    let mut stderr = BufReader::new(server.stderr.take().unwrap());
    let mut log = String::new();
    for _ in 0..4 {
        soon("a log line", stderr.read_line(&mut log)).await.unwrap();
    }
    server.start_kill().unwrap();
    stderr.read_to_string(&mut log).await.unwrap();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 4, "{log}");
    assert!(lines[0].contains("ERROR") && lines[0].contains("panic at "), "{log}");
    assert!(lines[0].ends_with(r": a \u{1b}[31mred panic"), "{log}");
    assert!(lines[1].ends_with(": no reason given"), "{log}");
}
