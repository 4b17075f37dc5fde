use std::time::{Duration, Instant};

use testing::{Peer, Raw};

use crate::start;

#[tokio::test]
async fn sigterm_closes_every_connection_with_1001_and_ends_with_status_0() {
    let mut server = start(&[]).await;
    let mut peers = Vec::new();
    for _ in 0..10 {
        peers.push(Peer::connect(&server.url()).await);
    }
    server.terminate();
    for peer in &mut peers {
        assert_eq!(peer.closed().await.0, 1001);
    }
    assert!(server.exit().await.success());
}

#[tokio::test]
async fn sigint_does_the_same() {
    let mut server = start(&[]).await;
    let mut peer = Peer::connect(&server.url()).await;
    server.signal(testing::Signal::INT);
    assert_eq!(peer.closed().await.0, 1001);
    assert!(server.exit().await.success());
}

#[tokio::test]
async fn a_peer_that_does_not_answer_delays_the_end_by_close_timeout_at_most() {
    let mut server = start(&["--close-timeout", "0.5"]).await;
    let raw = Raw::open(server.address).await;
    let half = Raw::connect(server.address).await;
    server.terminate();
    let began = Instant::now();
    assert!(server.exit().await.success());
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(450), "it did not wait: {took:?}");
    assert!(took < Duration::from_millis(1500), "it waited too long: {took:?}");
    drop((raw, half));
}

#[tokio::test]
async fn while_shutting_down_a_request_gets_503_and_nobody_new_is_accepted() {
    let mut server = start(&[]).await;
    let mut slow = Raw::open(server.address).await;
    let mut late = Raw::connect(server.address).await;
    late.write("G").await;
    // Connections are accepted in turn: when the next one has its answer, this one is in.
    testing::http(server.address, "GET /healthz HTTP/1.1\r\n\r\n").await;
    server.terminate();
    assert_eq!(slow.close_code().await, Some(1001));
    late.write("ET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = String::from_utf8(late.rest().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    // Each connection hears of the signal by itself, and so does each listener.
    let refused = async { while tokio::net::TcpStream::connect(server.address).await.is_ok() {} };
    testing::soon("a refused connect", refused).await;
    slow.frame(0x88, [0x03, 0xe9]).await;
    assert!(server.exit().await.success());
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut server = start(&[]).await;
    let mut raw = Raw::open(server.address).await;
    server.terminate();
    assert_eq!(raw.close_code().await, Some(1001));
    server.terminate();
    let began = Instant::now();
    assert!(!server.exit().await.success());
    assert!(began.elapsed() < Duration::from_secs(5), "close_timeout is 10 s");
}
