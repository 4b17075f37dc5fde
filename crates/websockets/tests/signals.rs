//! Signals to a server whose threads are blocked, or whose log is not read.

#![cfg(target_os = "linux")]

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use testing::{Peer, Signal, limit, soon};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use websockets::{Flags, Result, Server, Socket};

/// Blocks its thread when it receives a message.
async fn handler(socket: &mut Socket) -> Result<()> {
    while socket.recv().await?.is_some() {
        std::thread::sleep(Duration::from_secs(60));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the server that the tests below start"]
async fn server() {
    websockets::log::init();
    let flags = Flags { address: "127.0.0.1:0".into(), ..Flags::default() };
    // On the runtime's threads, as connections are.
    tokio::spawn(Server::new(flags).serve(handler)).await.unwrap().unwrap();
}

/// The server and its URL.
async fn start(stderr: impl Into<Stdio>) -> (Child, String) {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "server", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    loop {
        let line = soon("a line", lines.next_line()).await.unwrap().unwrap();
        if let Some(url) = line.strip_prefix("listening on ") {
            let url = url.to_owned();
            // The test harness of the server prints more at its end.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return (server, url);
        }
    }
}

fn terminate(server: &Child) {
    testing::kill(server.id().unwrap(), Signal::TERM);
}

#[tokio::test]
async fn a_second_signal_exits_despite_blocked_threads() {
    let (mut server, url) = start(Stdio::null()).await;
    let mut peers = [Peer::connect(&url).await, Peer::connect(&url).await];
    for peer in &mut peers {
        peer.send("hold your thread up").await;
    }
    terminate(&server);
    let began = Instant::now();
    // Signals of one kind that wait to be delivered are one.
    while server.try_wait().unwrap().is_none() {
        terminate(&server);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(began.elapsed() < limit(Duration::from_secs(10)), "it is held up");
    }
    assert_eq!(server.wait().await.unwrap().code(), Some(1));
    drop(peers);
}

#[tokio::test]
async fn blocked_threads_delay_shutdown_under_9s() {
    for blocked in [1, 2] {
        let (mut server, url) = start(Stdio::null()).await;
        let mut peers = [Peer::connect(&url).await, Peer::connect(&url).await];
        for peer in &mut peers[..blocked] {
            peer.send("block your thread").await;
        }
        terminate(&server);
        let began = Instant::now();
        assert_eq!(soon("the end", server.wait()).await.unwrap().code(), Some(0));
        let took = began.elapsed();
        assert!(took < limit(Duration::from_secs(9)), "{blocked} blocked: {took:?}");
    }
}

#[tokio::test]
async fn shutdown_reaches_clients_despite_an_unread_log() {
    let (log, mut stderr) = std::io::pipe().unwrap();
    // The size of a pipe.
    stderr.write_all(&vec![b'\n'; 64 << 10]).unwrap();
    let (mut server, url) = start(stderr).await;
    let mut peer = Peer::connect(&url).await;
    terminate(&server);
    assert_eq!(peer.closed().await, (1001, "server is shutting down".into()));
    while soon("the end", async { server.try_wait() }).await.unwrap().is_none() {
        terminate(&server);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(log);
}
