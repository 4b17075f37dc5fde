use std::time::{Duration, Instant};

use testing::{HANDSHAKE, Peer, Raw, Signal, http, limit, soon};

use crate::start;

#[tokio::test]
async fn sigterm_closes_with_1001_and_exits_0() {
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
    server.signal(Signal::INT);
    assert_eq!(peer.closed().await.0, 1001);
    assert!(server.exit().await.success());
}

#[tokio::test]
async fn a_silent_client_delays_shutdown_by_close_timeout() {
    let mut server = start(&["--close-timeout", "0.5"]).await;
    let raw = Raw::open(server.address).await;
    let half = Raw::connect(server.address).await;
    server.terminate();
    let began = Instant::now();
    assert!(server.exit().await.success());
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(450), "it did not wait: {took:?}");
    assert!(took < limit(Duration::from_secs(5)), "it waited too long: {took:?}");
    drop((raw, half));
}

#[tokio::test]
async fn every_request_gets_503_during_shutdown() {
    let mut server = start(&[]).await;
    let mut slow = Raw::open(server.address).await;
    let mut late = Raw::connect(server.address).await;
    late.write("G").await;
    // Connections are accepted in turn: when the next one has its answer, this one is in.
    http(server.address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.terminate();
    assert_eq!(slow.close_code().await, Some(1001));
    late.write("ET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = String::from_utf8(late.rest().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    for (request, status) in [
        (HANDSHAKE, "503"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "503"),
        ("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", "503"),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
    ] {
        let answer = http(server.address, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(status == "200" || answer.contains("The server is shutting down; "), "{answer}");
    }
    slow.frame(0x88, [0x03, 0xe9]).await;
    assert!(server.exit().await.success());
}

#[tokio::test]
async fn endless_requests_do_not_delay_shutdown() {
    let mut server = start(&["--close-timeout", "20"]).await;
    let peer = Raw::open(server.address).await;
    let address = server.address;
    let asks = tokio::spawn(async move {
        while let Ok(mut stream) = tokio::net::TcpStream::connect(address).await {
            _ = tokio::io::AsyncWriteExt::write_all(&mut stream, HANDSHAKE.as_bytes()).await;
        }
    });
    server.terminate();
    drop(peer);
    let began = Instant::now();
    assert!(server.exit().await.success());
    assert!(began.elapsed() < limit(Duration::from_secs(4)), "{:?}", began.elapsed());
    soon("a refused connect", asks).await.unwrap();
}

#[tokio::test]
async fn a_dead_client_delays_default_shutdown_under_9s() {
    let mut server = start(&[]).await;
    let _cut = Raw::open(server.address).await;
    server.terminate();
    let began = Instant::now();
    assert!(server.exit().await.success());
    let took = began.elapsed();
    assert!(took > Duration::from_secs(4), "it did not wait: {took:?}");
    assert!(took < limit(Duration::from_secs(9)), "docker kills after 10 s: {took:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn with_close_timeout_0_all_clients_receive_1001() {
    let mut server = start(&["--close-timeout", "0"]).await;
    let mut peers = Vec::new();
    for _ in 0..400 {
        peers.push(Raw::open(server.address).await);
    }
    server.terminate();
    assert!(server.exit().await.success());
    for (n, peer) in peers.iter_mut().enumerate() {
        assert_eq!(peer.close_code().await, Some(1001), "peer {n}");
    }
}

#[tokio::test]
async fn a_terminal_that_is_closed_does_the_same() {
    // The tests may run under nohup themselves.
    let (program, args) = match cfg!(target_os = "linux") {
        true => ("env", &["--default-signal=HUP", crate::EXE, "localhost:0"][..]),
        false => (crate::EXE, &["localhost:0"][..]),
    };
    let mut server = testing::Program::start(program, args).await;
    let mut peer = Peer::connect(&server.url()).await;
    server.signal(Signal::HUP);
    assert_eq!(peer.closed().await.0, 1001);
    assert!(server.exit().await.success());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nohup_ignores_a_closed_terminal() {
    let mut nohup = tokio::process::Command::new("nohup");
    let nohup = nohup.args([crate::EXE, "localhost:0"]);
    let mut server = testing::Program::start_command(nohup).await;
    server.signal(Signal::HUP);
    let mut peer = Peer::connect(&server.url()).await;
    peer.send("Ada").await;
    assert_eq!(peer.text().await, "Hello Ada!");
    server.terminate();
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
    assert!(began.elapsed() < limit(Duration::from_secs(5)), "close_timeout is 10 s");
}
