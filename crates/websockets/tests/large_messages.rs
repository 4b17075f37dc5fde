//! The memory that large messages, and announcements of large messages, cost a server.

#![cfg(target_os = "linux")]

use std::time::Duration;

use testing::memory::resident_kib;
use testing::{Peer, Program, Raw, built, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tungstenite::Message;

/// An echo server, started by `sh` after `limits`.
async fn echo(limits: &str, flags: &[&str]) -> Program {
    // Return freed memory to the system, so that the resident memory is the memory in use.
    let malloc = [("MALLOC_TRIM_THRESHOLD_", "65536"), ("MALLOC_ARENA_MAX", "1")];
    echo_with(&malloc, limits, &[&["--ping-interval", "0"], flags].concat()).await
}

async fn echo_with(environment: &[(&str, &str)], limits: &str, flags: &[&str]) -> Program {
    let mut sh = Command::new("sh");
    sh.args(["-c", &format!("{limits} exec \"$0\" \"$@\""), &built("examples/echo")]);
    sh.arg("localhost:0").args(flags);
    sh.envs(environment.iter().copied());
    Program::start_command(&mut sh).await
}

/// How much more memory each of a hundred clients costs after `talk`, in KiB.
async fn cost_of(talk: impl AsyncFn(&mut Peer)) -> u64 {
    const CLIENTS: u64 = 100;
    let server = echo("", &[]).await;
    let mut peers = Vec::new();
    for _ in 0..CLIENTS {
        peers.push(Peer::connect(&server.url()).await);
    }
    for peer in &mut peers {
        peer.send("small").await;
        peer.message().await;
    }
    let before = resident_kib(server.pid());
    for peer in &mut peers {
        talk(peer).await;
    }
    let cost = resident_kib(server.pid()).saturating_sub(before) / CLIENTS;
    println!("{cost} KiB a client");
    // All clients are still connected.
    for peer in &mut peers {
        peer.send("small").await;
        peer.message().await;
    }
    cost
}

#[tokio::test]
async fn memory_shrinks_after_a_large_message() {
    let large = Message::binary(vec![7; 1 << 20]);
    let cost = cost_of(async |peer| {
        peer.send(large.clone()).await;
        assert_eq!(peer.message().await, large);
    });
    assert!(cost.await < 32);
}

#[tokio::test]
async fn memory_shrinks_after_a_large_message_with_pings() {
    let cost = cost_of(async |peer| {
        peer.feed(Message::Ping("?".into())).await;
        peer.send("x".repeat(1 << 20)).await;
        assert_eq!(peer.message().await, Message::Pong("?".into()));
        assert!(peer.message().await.is_text());
    });
    assert!(cost.await < 32);
}

#[tokio::test]
async fn memory_shrinks_after_many_frames_in_one_read() {
    let cost = cost_of(async |peer| {
        peer.feed(Message::text("x")).await;
        for _ in 0..10_000 {
            peer.feed(Message::Pong("".into())).await;
        }
        peer.feed(Message::Ping("?".into())).await;
        peer.send("y").await;
        for answer in [Message::text("x"), Message::Pong("?".into()), Message::text("y")] {
            assert_eq!(peer.message().await, answer);
        }
    });
    assert!(cost.await < 32);
}

/// Its messages wait in memory, in the kernel and in the network, and it reads nothing.
#[tokio::test]
async fn a_blocked_peer_receives_the_close_frame_of_a_shutdown() {
    let mut server = echo("", &[]).await;
    let mut peer = Raw::open_narrow(server.address).await;
    let messages = testing::frame(0x82, vec![7; 1000]).repeat(8000);
    let mut written = 0;
    // Until the server cannot continue either.
    while let Ok(Ok(part)) =
        timeout(Duration::from_millis(500), peer.stream.write(&messages[written..])).await
    {
        written += part;
    }
    assert!(written < messages.len(), "the server is never blocked");
    server.terminate();
    assert_eq!(peer.close_code().await, Some(1001));
    peer.frame(0x88, 1001_u16.to_be_bytes()).await;
    assert!(server.exit().await.success());
}

/// Otherwise the kernel would accept the whole message, and a ping would wait behind it.
#[tokio::test]
async fn a_peer_that_reads_slowly_is_not_disconnected() {
    const MIB: usize = 1 << 20;
    let flags = ["--ping-interval", "1", "--ping-timeout", "1"];
    let server = echo_with(&[], "", &flags).await;
    let mut peer = Raw::open_narrow(server.address).await;
    peer.frame(0x82, vec![7; MIB]).await;
    let mut received = 0;
    while received < MIB {
        sleep(Duration::from_millis(50)).await;
        let mut part = vec![0; 50 << 10];
        let read = soon("a part", peer.stream.read(&mut part)).await.unwrap();
        assert_ne!(read, 0, "{}", server.log());
        received += read;
    }
    assert!(!server.log().contains("1011"), "{}", server.log());
}

/// By default, glibc keeps freed memory for each thread.
#[tokio::test]
async fn with_the_documented_setting_memory_returns_to_the_system() {
    let server = echo_with(&[("MALLOC_TRIM_THRESHOLD_", "131072")], "", &[]).await;
    let large = Message::binary(vec![7; 1 << 20]);
    for _ in 0..3 {
        let mut peers = JoinSet::new();
        for _ in 0..50 {
            let (url, large) = (server.url(), large.clone());
            peers.spawn(async move {
                let mut peer = Peer::connect(&url).await;
                peer.send(large.clone()).await;
                assert_eq!(peer.message().await, large);
                peer
            });
        }
        drop(peers.join_all().await);
    }
    let returned = async {
        while resident_kib(server.pid()) > 8 << 10 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    soon("the end of the connections", returned).await;
}

#[tokio::test]
async fn memory_grows_with_received_not_announced_bytes() {
    // Twice the memory of a single announcement.
    let server = echo("ulimit -v 2000000;", &["--max-size", "1073741824"]).await;
    let mut claims = Vec::new();
    for first in [0x81, 0x82, 0x01, 0x02].repeat(10) {
        let mut raw = Raw::open(server.address).await;
        raw.write([first, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4]).await;
        raw.write([5; 1000]).await;
        claims.push(raw);
    }
    let mut peer = Peer::connect(&server.url()).await;
    peer.send("Ada").await;
    assert_eq!(peer.text().await, "Ada");
    assert!(resident_kib(server.pid()) < 64 << 10);
    drop(claims);
}

#[tokio::test]
async fn an_announced_oversize_is_rejected_before_any_data() {
    let server = echo("", &["--max-size", "1000"]).await;
    for claim in [&[0x82, 0xfe, 3, 0xe9][..], &[0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0]] {
        let mut raw = Raw::open(server.address).await;
        raw.write([claim, &[1, 2, 3, 4]].concat()).await;
        assert_eq!(raw.close_code().await, Some(1009));
    }
    // The first fragment is as large as it may be, but not with the second.
    let mut raw = Raw::open(server.address).await;
    raw.frame(0x02, vec![5; 600]).await;
    raw.write([0x80, 0xfe, 1, 0xf4, 1, 2, 3, 4]).await;
    assert_eq!(raw.close_code().await, Some(1009));
    // A message of exactly the limit is allowed, whole or in two fragments.
    let mut peer = Peer::connect(&server.url()).await;
    peer.send("x".repeat(1000)).await;
    assert_eq!(peer.text().await.len(), 1000);
}
