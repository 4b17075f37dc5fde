use std::time::{Duration, Instant};

use testing::{Peer, Raw, frame};
use tokio::io::AsyncWriteExt;
use tungstenite::{Bytes, Message};

use crate::start;

#[tokio::test]
async fn a_binary_name_is_refused_with_1003() {
    let server = start(&[]).await;
    let mut peer = Peer::connect(&server.url()).await;
    peer.send(Message::Binary(Bytes::from_static(b"Ada"))).await;
    assert_eq!(peer.closed().await, (1003, "a name must be text".into()));
}

#[tokio::test]
async fn an_oversized_message_closes_with_1009_unread() {
    let server = start(&["--max-size", "1000"]).await;
    let mut peer = Peer::connect(&server.url()).await;
    peer.send("a".repeat(1000)).await;
    assert_eq!(peer.text().await.len(), 1007);

    // Only the header is sent, without any byte of the message.
    let mut raw = Raw::open(server.address).await;
    raw.write([0x81, 0x80 | 126, 0x03, 0xe9, 0, 0, 0, 0]).await;
    assert_eq!(raw.close_code().await, Some(1009));
}

#[tokio::test]
async fn a_large_upload_that_is_refused_still_learns_why() {
    let server = start(&[]).await;
    let mut raw = Raw::open(server.address).await;
    raw.frame(0x81, vec![b'a'; 8 << 20]).await;
    assert_eq!(raw.close_code().await, Some(1009));
}

#[tokio::test]
async fn invalid_frames_close_with_1002_or_1007() {
    let server = start(&[]).await;
    for (code, frame) in [
        (1002, &[0x81, 0x01, b'a'][..]),    // not masked
        (1002, &testing::frame(0xc1, "a")), // a reserved bit
        (1002, &testing::frame(0x83, "a")), // a reserved opcode
        (1002, &testing::frame(0x09, "a")), // a fragmented ping
        (1007, &testing::frame(0x81, [0xff])),
    ] {
        let mut raw = Raw::open(server.address).await;
        raw.write(frame).await;
        assert_eq!(raw.close_code().await, Some(code), "{frame:?}");
    }
}

#[tokio::test]
async fn a_client_without_pong_is_closed_with_1011() {
    let server = start(&["--ping-interval", "0.1", "--ping-timeout", "0.2"]).await;
    let mut raw = Raw::open(server.address).await;
    assert_eq!(raw.next_frame().await.map(|(first, _)| first), Some(0x89));
    assert_eq!(raw.close_code().await, Some(1011));
}

#[tokio::test]
async fn a_peer_that_answers_pings_stays() {
    let server = start(&["--ping-interval", "0.05", "--ping-timeout", "5"]).await;
    let mut raw = Raw::open(server.address).await;
    for _ in 0..10 {
        let (first, payload) = raw.next_frame().await.unwrap();
        assert_eq!(first, 0x89);
        raw.frame(0x8a, payload).await;
    }
    raw.frame(0x81, "Ada").await;
    while let Some((first, payload)) = raw.next_frame().await {
        if first == 0x81 {
            return assert_eq!(payload, b"Hello Ada!");
        }
    }
    panic!("no greeting");
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload() {
    let server = start(&[]).await;
    let mut raw = Raw::open(server.address).await;
    raw.frame(0x89, "are you there?").await;
    assert_eq!(raw.next_frame().await, Some((0x8a, b"are you there?".to_vec())));
}

#[tokio::test]
async fn a_client_that_closes_receives_its_code_back() {
    let server = start(&[]).await;
    let mut raw = Raw::open(server.address).await;
    raw.frame(0x88, [0x03, 0xe9, b'b', b'y', b'e']).await;
    assert_eq!(raw.next_frame().await, Some((0x88, vec![0x03, 0xe9, b'b', b'y', b'e'])));
    assert_eq!(raw.next_frame().await, None);
}

#[tokio::test]
async fn a_client_without_close_times_out() {
    let server = start(&["--close-timeout", "0.3"]).await;
    let mut raw = Raw::open(server.address).await;
    raw.frame(0x81, "Ada").await;
    assert_eq!(raw.close_code().await, Some(1000));
    let closed = Instant::now();
    assert_eq!(raw.next_frame().await, None);
    assert!(closed.elapsed() > Duration::from_millis(200));
}

/// A large upload is read to its end, but for no longer than `close_timeout`.
#[tokio::test]
async fn a_client_that_sends_after_close_is_disconnected() {
    let server = start(&["--close-timeout", "600"]).await;
    let endless = [(0x81, 0x81, 100), (0x89, 0x89, 100), (0x01, 0x00, 0)];
    for (first, following, length) in endless {
        let mut raw = Raw::open(server.address).await;
        raw.frame(0x81, "Ada").await;
        assert_eq!(raw.close_code().await, Some(1000));
        raw.frame(first, "").await;
        let frames = frame(following, "x".repeat(length)).repeat(5000);
        let mut said = 0;
        while raw.stream.write_all(&frames).await.is_ok() {
            said += frames.len();
            assert!(said < 64 << 20, "{following:#x} is listened to without end");
        }
    }
}

#[tokio::test]
async fn a_normal_disconnect_is_not_logged_as_error() {
    let server = start(&[]).await;
    drop(Raw::open(server.address).await);
    drop(Raw::connect(server.address).await);
    let mut peer = Peer::connect(&server.url()).await;
    peer.send("Ada").await;
    peer.text().await;
    peer.closed().await;
    assert_eq!(server.log(), "");
}
