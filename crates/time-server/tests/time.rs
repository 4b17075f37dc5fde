//! Tests of time-server through the real binary.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use testing::{Peer, Program, Raw, limit};

async fn start(flags: &[&str]) -> Program {
    let args = [&["127.0.0.1:0"], flags].concat();
    Program::start(env!("CARGO_BIN_EXE_time-server"), &args).await
}

#[tokio::test]
async fn the_time_arrives_at_once_then_within_3s() {
    let server = start(&[]).await;
    let mut peer = Peer::connect(&server.url()).await;
    let mut last = Instant::now();
    for n in 0..4 {
        let text = peer.text().await;
        let pause = last.elapsed();
        last = Instant::now();
        let longest = if n == 0 { 1.0 } else { 4.0 };
        assert!(
            pause < limit(Duration::from_secs_f64(longest)),
            "message {n} came after {pause:?}"
        );

        // 2026-11-22T22:24:47.819707Z
        let shape = text.replace(|c: char| c.is_ascii_digit(), "0");
        assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{text}");
        let off = Timestamp::now().duration_since(text.parse().unwrap());
        assert!(off.abs().as_secs() < 5, "{text} is off by {off}");
    }
}

#[tokio::test]
async fn each_client_has_a_pace_of_its_own() {
    let server = start(&[]).await;
    let mut one = Peer::connect(&server.url()).await;
    let mut two = Peer::connect(&server.url()).await;
    let mut times = Vec::new();
    for peer in [&mut one, &mut two] {
        peer.text().await;
    }
    for peer in [&mut one, &mut two] {
        times.push(peer.text().await);
    }
    assert_ne!(times[0], times[1]);
}

#[tokio::test]
async fn pings_and_closes_are_answered_between_writes() {
    let server = start(&[]).await;
    let mut raw = Raw::open(server.address).await;
    raw.next_frame().await;
    let began = Instant::now();
    for n in 0..20 {
        raw.frame(0x89, [n]).await;
        while raw.next_frame().await.unwrap() != (0x8a, vec![n]) {}
    }
    // Not after twenty pauses of 1.5 s on the average.
    assert!(began.elapsed() < limit(Duration::from_secs(10)));
    raw.frame(0x88, 1000u16.to_be_bytes()).await;
    assert_eq!(raw.close_code().await, Some(1000));
}

#[tokio::test]
async fn a_client_that_talks_is_closed_with_1003() {
    let server = start(&[]).await;
    for message in [tungstenite::Message::text("what time is it?"), vec![1, 2, 3].into()] {
        let mut peer = Peer::connect(&server.url()).await;
        peer.text().await;
        peer.send(message).await;
        let code = loop {
            if let tungstenite::Message::Close(Some(frame)) = peer.message().await {
                break u16::from(frame.code);
            }
        };
        assert_eq!(code, 1003);
    }
}

#[tokio::test]
async fn the_page_is_at_the_root() {
    let server = start(&[]).await;
    let answer = testing::http(server.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.ends_with(include_str!("../../../web/time.html")));
}

#[tokio::test]
async fn a_file_page_is_allowed_without_allow_origin() {
    let server = start(&[]).await;
    assert!(Peer::connect_from(&server.url(), "null").await.is_ok());
    assert_eq!(Peer::connect_from(&server.url(), "https://example.com").await.err(), Some(403));
    let server = start(&["--allow-origin", "https://example.com"]).await;
    assert_eq!(Peer::connect_from(&server.url(), "null").await.err(), Some(403));
}

#[test]
fn the_default_address_is_that_of_the_original() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_time-server"))
        .arg("--help")
        .output()
        .unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("[default: 127.0.0.1:5678]"));
}
