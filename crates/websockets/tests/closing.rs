//! Tests of a peer that closes and then does not end TCP, on a paused clock.

use std::time::Duration;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;
use tungstenite::Error;
use tungstenite::protocol::{CloseFrame, Role};
use websockets::{CloseCode, Options, Socket};

/// A socket, and the stream of its peer.
fn socket(role: Role) -> (Socket, DuplexStream) {
    let (here, there) = duplex(1024);
    (Socket::new(here, &[], role, Options::default()), there)
}

/// A close frame as the peer of this role receives it.
fn close_frame(to: Role, code: u16, reason: &str) -> Vec<u8> {
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    match to {
        Role::Client => [&[0x88, payload.len() as u8], payload.as_slice()].concat(),
        Role::Server => testing::frame(0x88, payload),
    }
}

fn because(code: u16) -> Option<Option<CloseFrame>> {
    Some(Some(CloseFrame { code: code.into(), reason: "because".into() }))
}

#[tokio::test(start_paused = true)]
async fn a_close_frame_is_the_end() {
    for (role, wait) in [(Role::Client, 1), (Role::Server, 10)] {
        let (mut socket, mut peer) = socket(role);
        peer.write_all(&close_frame(role, 1011, "because")).await.unwrap();
        let began = Instant::now();
        assert_eq!(socket.recv().await.unwrap(), None);
        assert_eq!(socket.closed(), because(1011));
        assert_eq!(began.elapsed(), Duration::ZERO);
        socket.close(CloseCode::Normal, "").await;
        assert_eq!(began.elapsed().as_secs(), wait);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_a_second_for_tcp() {
    let (mut socket, mut peer) = socket(Role::Client);
    peer.write_all(&close_frame(Role::Client, 1000, "")).await.unwrap();
    let began = Instant::now();
    // The stream is not TCP, so the client waits for its end like for that of TLS.
    socket.close(CloseCode::Normal, "").await;
    assert_eq!(began.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_close_frame_ends_a_send_that_waits() {
    for role in [Role::Client, Role::Server] {
        let (mut socket, mut peer) = socket(role);
        let began = Instant::now();
        let (sent, ()) = tokio::join!(socket.send("x".repeat(10_000)), async {
            peer.write_all(&close_frame(role, 1013, "because")).await.unwrap();
        });
        assert!(matches!(sent, Err(Error::AlreadyClosed)), "{sent:?}");
        assert_eq!(socket.recv().await.unwrap(), None);
        assert_eq!((socket.closed(), began.elapsed()), (because(1013), Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_frame_counts_after_a_failed_write() {
    for role in [Role::Client, Role::Server] {
        let (mut socket, mut peer) = socket(role);
        peer.write_all(&close_frame(role, 1013, "because")).await.unwrap();
        drop(peer);
        socket.send("too late").await.unwrap_err();
        assert_eq!(socket.recv().await.unwrap(), None);
        assert_eq!(socket.closed(), because(1013));
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_code_is_reported_as_sent() {
    for role in [Role::Client, Role::Server] {
        for code in [0, 999, 1000, 1005, 1014, 1015, 2999, 4999, 65_535] {
            let (mut socket, mut peer) = socket(role);
            for byte in close_frame(role, code, "because") {
                peer.write_all(&[byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            assert_eq!(socket.recv().await.unwrap(), None);
            assert_eq!(socket.closed(), because(code));
        }
    }
}
