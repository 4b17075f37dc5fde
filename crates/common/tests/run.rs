//! Servers in the test's own process: what they leave behind, and whom they forget.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test, a panic is a failure"
)]

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use common::{Flags, Request, Result, Server, Socket};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use testing::{HANDSHAKE, Peer, Raw, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Reads to the end.
fn handler(socket: &mut Socket, _: Request) -> BoxFuture<'_, Result<()>> {
    Box::pin(async move {
        while socket.next().await.transpose()?.is_some() {}
        Ok(())
    })
}

fn server() -> Server {
    Server::new(Flags::parse_from(["server", "127.0.0.1:0"]))
}

async fn serve(
    handler: fn(&mut Socket, Request) -> BoxFuture<'_, Result<()>>,
) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    (address, stop.clone(), tokio::spawn(server().run(vec![listener], handler, stop)))
}

#[tokio::test]
async fn a_thousand_visits_leave_no_task_behind() {
    let (address, stop, running) = serve(handler).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    // The first one has started what there is to start.
    Peer::connect(&format!("ws://{address}")).await.close().await;
    let before = 2;
    let fewer_than = async |limit: usize| {
        while tasks() > limit {
            sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the first visit to end", fewer_than(before)).await;
    for visit in 0..1000 {
        let mut raw = Raw::connect(address).await;
        match visit % 5 {
            0 => {}
            1 => raw.write(&HANDSHAKE[..50]).await,
            2 => raw.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await,
            3 => raw.write(HANDSHAKE).await,
            _ => {
                raw.write(HANDSHAKE).await;
                raw.head().await;
                raw.frame(0x81, "hello").await;
            }
        }
        if visit % 7 == 0 {
            raw.stream.set_zero_linger().unwrap();
        }
    }
    soon("all visits to end", fewer_than(before)).await;
    stop.cancel();
    soon("the server's end", running).await.unwrap();
    soon("the last tasks' end", fewer_than(0)).await;
}

#[tokio::test]
async fn a_handler_that_panics_before_its_future_is_closed_with_1011_too() {
    let (address, _stop, _running) = serve(|_, _| panic!("at once")).await;
    let mut raw = Raw::open(address).await;
    assert_eq!(raw.close_code().await, Some(1011));
}

#[tokio::test]
async fn who_was_let_in_while_the_server_stops_is_told_1001() {
    let mut let_in = 0;
    for round in 0..500 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        // As a program does: what still runs when `run` returns is dropped.
        let program = std::thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                server().run(vec![listener], handler, stopped).await;
            });
        });
        let visit = tokio::spawn(async move {
            let mut heard = Vec::new();
            let Ok(mut stream) = TcpStream::connect(address).await else { return heard };
            _ = stream.write_all(HANDSHAKE.as_bytes()).await;
            while !heard.ends_with(b"shuts down")
                && matches!(stream.read_buf(&mut heard).await, Ok(1..))
            {}
            heard
        });
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_micros(4 * round) {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        let heard = soon("the end", visit).await.unwrap();
        if heard.starts_with(b"HTTP/1.1 101 ") {
            assert!(heard.ends_with(b"shuts down"), "round {round}");
            let_in += 1;
        }
        program.join().unwrap();
    }
    println!("{let_in} of 500 were let in");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_is_free_as_soon_as_the_server_has_ended() {
    for _ in 0..50 {
        let (address, stop, running) = serve(handler).await;
        Peer::connect(&format!("ws://{address}")).await.close().await;
        stop.cancel();
        soon("the server's end", running).await.unwrap();
        TcpListener::bind(address).await.unwrap();
    }
}
