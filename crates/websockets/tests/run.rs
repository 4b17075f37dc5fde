//! Servers in the process of the test: their leftovers, and their shutdown.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use testing::{HANDSHAKE, Peer, Raw, limit, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use websockets::server::Handler;
use websockets::{CloseCode, CloseWith, Flags, Result, Server, Socket};

/// Reads to the end.
async fn handler(socket: &mut Socket) -> Result<()> {
    while socket.recv().await?.is_some() {
        assert!(!socket.is_shutting_down());
    }
    Ok(())
}

fn server() -> Server {
    Server::new(Flags::parse_from(["server", "127.0.0.1:0"]))
}

async fn serve<A: 'static>(
    handler: impl Handler<(), A>,
) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    (address, stop, tokio::spawn(server().serve_on(vec![listener], handler, stopped)))
}

#[tokio::test]
async fn a_thousand_visits_leave_no_task_behind() {
    let (address, stop, running) = serve(handler).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    // The first one has started all threads.
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
async fn a_panic_before_the_future_closes_with_1011() {
    fn panics(_: &mut Socket) -> std::future::Ready<Result<()>> {
        panic!("at once")
    }
    let (address, _stop, _running) = serve(panics).await;
    let mut raw = Raw::open(address).await;
    assert_eq!(raw.close_code().await, Some(1011));
}

#[tokio::test]
async fn a_client_accepted_during_shutdown_receives_1001() {
    let mut let_in = 0;
    for round in 0..500 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        // Drop all tasks that still run when `serve_on` returns, as a program does.
        let program = std::thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                let stopped = stopped.cancelled_owned();
                server().serve_on(vec![listener], handler, stopped).await;
            });
        });
        let visit = tokio::spawn(async move {
            let mut heard = Vec::new();
            let Ok(mut stream) = TcpStream::connect(address).await else { return heard };
            _ = stream.write_all(HANDSHAKE.as_bytes()).await;
            while !heard.ends_with(b"shutting down")
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
            assert!(heard.ends_with(b"shutting down"), "round {round}");
            let_in += 1;
        }
        program.join().unwrap();
    }
    println!("{let_in} of 500 were accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_is_free_after_the_server_ends() {
    for _ in 0..50 {
        let (address, stop, running) = serve(handler).await;
        Peer::connect(&format!("ws://{address}")).await.close().await;
        stop.cancel();
        soon("the server's end", running).await.unwrap();
        TcpListener::bind(address).await.unwrap();
    }
}

#[tokio::test]
async fn a_handler_finishes_its_work_during_a_shutdown() {
    static FINISHED: AtomicUsize = AtomicUsize::new(0);
    async fn works(socket: &mut Socket) -> Result<()> {
        socket.send("ready").await?;
        assert_eq!(socket.recv().await?, None);
        assert!(socket.is_shutting_down());
        // The client has its 1001 while this still runs.
        sleep(Duration::from_millis(300)).await;
        assert!(socket.send("too late").await.is_err());
        FINISHED.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    let (address, stop, running) = serve(works).await;
    let mut peers = Vec::new();
    for _ in 0..5 {
        let mut peer = Peer::connect(&format!("ws://{address}")).await;
        assert_eq!(peer.text().await, "ready");
        peers.push(peer);
    }
    stop.cancel();
    for peer in &mut peers {
        assert_eq!(peer.closed().await, (1001, "server is shutting down".into()));
    }
    assert_eq!(FINISHED.load(Ordering::Relaxed), 0, "the clients were told before the end");
    soon("the server's end", running).await.unwrap();
    assert_eq!(FINISHED.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn a_handler_that_waits_elsewhere_does_not_delay_1001() {
    async fn waits(socket: &mut Socket) -> Result<()> {
        socket.send("ready").await?;
        std::future::pending::<()>().await;
        Ok(())
    }
    let (address, stop, running) = serve(waits).await;
    let mut peer = Peer::connect(&format!("ws://{address}")).await;
    assert_eq!(peer.text().await, "ready");
    let began = Instant::now();
    stop.cancel();
    assert_eq!(peer.closed().await, (1001, "server is shutting down".into()));
    assert!(began.elapsed() < limit(Duration::from_secs(5)), "it waited for the handler");
    // Then the handler is dropped.
    soon("the server's end", running).await.unwrap();
}

#[tokio::test]
async fn a_dropped_server_ends_its_connections() {
    let (address, _stop, running) = serve(handler).await;
    let mut peer = Peer::connect(&format!("ws://{address}")).await;
    running.abort();
    assert_eq!(peer.closed().await, (1001, "server is shutting down".into()));
    let tasks = || Handle::current().metrics().num_alive_tasks();
    soon("all tasks' end", async {
        while tasks() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Panics when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

#[tokio::test]
async fn a_panic_in_drop_ends_only_its_own_connection() {
    async fn holds_a_grenade(socket: &mut Socket) -> Result<()> {
        let grenade = Grenade;
        let received = socket.recv().await?;
        // Dropped with the handler's future if the server stops first.
        drop((received, grenade));
        Ok(())
    }
    let (address, stop, running) = serve(holds_a_grenade).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(Peer::connect(&format!("ws://{address}")).await);
    }
    let mut first = peers.remove(0);
    first.send("pull").await;
    assert_eq!(first.closed().await.0, 1011);
    stop.cancel();
    for peer in &mut peers {
        assert_eq!(peer.closed().await.0, 1001);
    }
    soon("the server's end", running).await.unwrap();
}

/// Cannot be displayed.
#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("in fmt")
    }
}

impl std::error::Error for Unspeakable {}

#[tokio::test]
async fn an_error_that_panics_when_displayed_is_1011() {
    async fn fails(_: &mut Socket) -> Result<()> {
        Err(Unspeakable.into())
    }
    let (address, _stop, _running) = serve(fails).await;
    let mut peer = Peer::connect(&format!("ws://{address}")).await;
    assert_eq!(peer.closed().await, (1011, "internal server error".into()));
}

#[tokio::test]
async fn a_panic_in_on_close_changes_nothing() {
    async fn fails(socket: &mut Socket) -> Result<()> {
        socket.recv().await?;
        Err(CloseWith::new(CloseCode::Policy, "é".repeat(100)).into())
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = server().on_close(|_| panic!("in on_close"));
    tokio::spawn(server.serve_on(vec![listener], fails, std::future::pending()));
    for _ in 0..2 {
        let mut peer = Peer::connect(&format!("ws://{address}")).await;
        peer.send("?").await;
        // A close frame has room for 123 bytes, and the cut is between two characters.
        assert_eq!(peer.closed().await, (1008, "é".repeat(61)));
    }
}

#[tokio::test]
async fn shutdown_frees_a_handler_with_a_stuck_client() {
    static FINISHED: AtomicUsize = AtomicUsize::new(0);
    async fn floods(socket: &mut Socket) -> Result<()> {
        while socket.send(vec![0; 1 << 20]).await.is_ok() {}
        assert!(socket.is_shutting_down());
        FINISHED.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    let (address, stop, _running) = serve(floods).await;
    // It reads nothing.
    let raw = Raw::open(address).await;
    sleep(Duration::from_millis(300)).await;
    stop.cancel();
    soon("the handler's end", async {
        while FINISHED.load(Ordering::Relaxed) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    drop(raw);
}
