use std::time::Duration;

use testing::usage::{cpu, descriptors};
use testing::{HANDSHAKE, Peer, Program, Raw, http, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::observer::Observer;
use crate::{Server, start_by};

/// A server that may have 64 descriptors.
async fn poor(flags: &[&str]) -> Server {
    let sh = ["sh", "-c", "ulimit -n 64; exec \"$0\" \"$@\""];
    start_by(&sh, &[&["localhost:0"], flags].concat()).await
}

/// The server must not be busy while no client sends anything.
async fn assert_idle(server: &Program) {
    let (before, began) = (cpu(server.pid()), Instant::now());
    sleep(Duration::from_secs(1)).await;
    let (used, took) = (cpu(server.pid()) - before, began.elapsed());
    println!("{used:?} of CPU time in {took:?}");
    assert!(used < took / 10, "{used:?} of CPU time in {took:?}");
}

/// Connects until the server accepts a new client.
async fn lets_in(server: &Program) {
    let let_in = async {
        let mut answer = [0; 13];
        while answer != *b"HTTP/1.1 101 " {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            // A client over the limit receives 503, or nothing.
            _ = stream.write_all(HANDSHAKE.as_bytes()).await;
            _ = stream.read_exact(&mut answer).await;
        }
    };
    soon("a place", let_in).await;
}

#[tokio::test]
async fn descriptor_exhaustion_pauses_only_new_connections() {
    let server = poor(&["--open-timeout", "60"]).await;
    let mut observer = Observer::join(&server).await;
    let mut crowd = Vec::new();
    for _ in 0..150 {
        crowd.push(Raw::connect(server.address).await);
    }
    server.logged("cannot accept").await;
    assert_idle(&server).await;
    observer.is_served().await;
    // A client disconnects, and one of the waiting clients is accepted.
    let mut waiting = crowd.split_off(149).pop().unwrap();
    crowd.clear();
    waiting.write(HANDSHAKE).await;
    assert!(waiting.head().await.starts_with("HTTP/1.1 101 "));
    observer.hears_users(2).await;
    drop(waiting);
    observer.hears_users(1).await;
    observer.is_served().await;
    assert!(server.log().lines().count() < 60, "{}", server.log());
}

#[tokio::test]
async fn a_full_server_answers_503() {
    let server = poor(&["--max-connections", "10"]).await;
    let mut observer = Observer::join(&server).await;
    let mut peers = Vec::new();
    for _ in 0..9 {
        peers.push(Peer::connect(&server.url()).await);
    }
    observer.hears_users(10).await;
    for _ in 0..100 {
        let answer = http(server.address, HANDSHAKE).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    observer.is_served().await;
    drop(peers);
    observer.hears_users(1).await;
    // No descriptor was missing.
    assert!(!server.log().contains("cannot accept"), "{}", server.log());
}

#[tokio::test]
async fn the_connection_limit_pauses_only_new_connections() {
    let server = crate::start(&["--max-connections", "5", "--open-timeout", "60"]).await;
    let mut observer = Observer::join(&server).await;
    let before = descriptors(server.pid());
    // Four clients take all connection slots, 64 more wait for their 503, and the server closes the
    // other connections.
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(TcpStream::connect(server.address).await.unwrap());
    }
    let all_looked_at = async {
        while descriptors(server.pid()) != before + 4 + 64 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon("everyone to be looked at", all_looked_at).await;
    assert_idle(&server).await;
    observer.is_served().await;
    drop(crowd);
    lets_in(&server).await;
    observer.hears_users(1).await;
    observer.is_served().await;
}
