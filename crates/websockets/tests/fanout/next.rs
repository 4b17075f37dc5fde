use std::sync::Arc;

use testing::{frame, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::yield_now;
use tungstenite::Message;
use tungstenite::protocol::Role;
use websockets::fanout::{Fanout, Frames, State};
use websockets::{Options, Socket};

use crate::{join, room, say};

#[tokio::test]
async fn next_sends_the_snapshot_before_it_returns_a_message() {
    let room = room();
    let (mut server, mut client) = Socket::pair();
    client.send("first").await.unwrap();
    let mut user = room.subscribe();
    let received = user.next(&mut server).await.unwrap();
    assert_eq!(received, Some(Message::text("first")));
    assert_eq!(client.recv().await.unwrap(), Some(Message::text("1 here; ")));
}

#[tokio::test]
async fn next_sends_updates_while_it_waits() {
    let room = room();
    let (mut server, mut client) = Socket::pair();
    let handler = tokio::spawn({
        let mut user = room.subscribe();
        async move { user.next(&mut server).await.unwrap() }
    });
    assert_eq!(client.recv().await.unwrap(), Some(Message::text("1 here; ")));
    say(&room, "news");
    assert_eq!(client.recv().await.unwrap(), Some(Message::text("news")));
    client.send("done").await.unwrap();
    assert_eq!(handler.await.unwrap(), Some(Message::text("done")));
}

#[tokio::test]
async fn next_loses_no_update_when_it_is_dropped() {
    let room = room();
    let (mut server, mut client) = Socket::pair();
    let mut user = join(&room, "1 here; ").await;
    let sender = async {
        for n in 0..500 {
            // More than the connection holds, so that most calls are dropped while they write.
            say(&room, &format!("{n:0>1000}"));
            for _ in 0..3 {
                tokio::select! {
                    biased;
                    message = user.next(&mut server) => panic!("{message:?}"),
                    () = yield_now() => {}
                }
            }
        }
        user.next(&mut server).await
    };
    let receiver = async {
        let mut next = 0;
        while next < 500 {
            let message = client.recv().await.unwrap().unwrap();
            assert_eq!(message, Message::text(format!("{next:0>1000}")));
            next += 1;
        }
    };
    tokio::select! {
        () = soon("every update", receiver) => {}
        message = sender => panic!("{message:?}"),
    }
}

#[tokio::test]
async fn flush_sends_updates_before_the_next_message() {
    let room = room();
    let (mut server, mut client) = Socket::pair();
    let mut user = room.subscribe();
    user.flush(&mut server).await.unwrap();
    server.send("welcome").await.unwrap();
    say(&room, "update");
    user.flush(&mut server).await.unwrap();
    server.send("answer").await.unwrap();
    for expected in ["1 here; ", "welcome", "update", "answer"] {
        assert_eq!(client.recv().await.unwrap(), Some(Message::text(expected)));
    }
}

/// Reads server frames of fewer than 126 bytes until `count` of them are complete. Panics when one
/// is torn.
async fn frames_of(stream: &mut DuplexStream, count: usize) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while frames.len() < count {
        let mut head = [0; 2];
        soon("a frame", stream.read_exact(&mut head)).await.unwrap();
        assert!(
            [0x81, 0x8a].contains(&head[0]) && head[1] < 126,
            "torn: {head:x?} after {frames:x?}"
        );
        let mut payload = vec![0; head[1].into()];
        soon("its payload", stream.read_exact(&mut payload)).await.unwrap();
        frames.push((head[0], payload));
    }
    frames
}

/// Lets the other futures of a test run.
async fn yield_often() {
    for _ in 0..100 {
        yield_now().await;
    }
}

#[tokio::test]
async fn an_update_does_not_tear_a_pong() {
    let room = room();
    let (here, mut there) = duplex(160);
    let mut server = Socket::new(here, &[], Role::Server, Options::default());
    let mut user = room.subscribe();
    let shared = Arc::clone(&room);
    let handler = async move {
        while user.next(&mut server).await?.is_some() {
            say(&shared, "update");
        }
        Ok::<_, tungstenite::Error>(())
    };
    let peer = async {
        frames_of(&mut there, 1).await;
        // After this there is no room for the whole pong.
        say(&room, &"x".repeat(100));
        yield_often().await;
        // Both arrive at once, so the update of the click is on the tape when the pong is written.
        let click_and_ping = [frame(0x81, "click"), frame(0x89, [b'P'; 125])].concat();
        there.write_all(&click_and_ping).await.unwrap();
        yield_often().await;
        let frames = frames_of(&mut there, 3).await;
        assert!(frames.contains(&(0x8a, vec![b'P'; 125])), "{frames:x?}");
        assert!(frames.contains(&(0x81, b"update".to_vec())), "{frames:x?}");
    };
    tokio::select! {
        () = peer => {}
        ended = handler => panic!("{ended:?}"),
    }
}

/// Has an empty snapshot.
struct Silent;

impl State for Silent {
    fn snapshot(&self, _: &mut Frames) {}
}

#[tokio::test]
async fn a_client_is_read_after_an_empty_snapshot() {
    let silent = Fanout::new(Silent);
    let (mut server, mut client) = Socket::pair();
    let mut user = silent.subscribe();
    let handler = tokio::spawn(async move { user.next(&mut server).await });
    // The round comes and goes before the client sends anything.
    for _ in 0..10 {
        yield_now().await;
    }
    client.send("hello").await.unwrap();
    let received = soon("the message", handler).await.unwrap();
    assert_eq!(received.unwrap(), Some(Message::text("hello")));
}
