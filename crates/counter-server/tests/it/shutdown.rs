use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testing::{HANDSHAKE, Raw, frame, limit, soon};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::observer::{Observer, PLUS};
use crate::start;

/// The close frame with 1001, as it goes over the wire.
const FAREWELL: &[u8] = b"\x88\x19\x03\xe9server is shutting down";

/// Connects and sends the handshake, but does not read the response yet.
async fn knock(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    stream
}

/// Reads all bytes until the close frame, or the end. They are parsed later, because a test that
/// reads slowly is a slow client.
async fn hear_out(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut heard = Vec::new();
    let hear = async {
        while !heard.ends_with(FAREWELL) && matches!(stream.read_buf(&mut heard).await, Ok(1..)) {}
    };
    soon("the farewell", hear).await;
    heard
}

/// After the handshake's response, every frame must be whole, and the last one must be the close
/// frame.
fn assert_whole(heard: &[u8]) {
    let head = heard.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let mut frames = &heard[head + 4..];
    while frames != FAREWELL {
        // Our events have fewer than 126 bytes.
        let [0x81, length @ ..126, ..] = *frames else { panic!("{frames:?}") };
        frames = &frames[2 + length as usize..];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_under_load_sends_1001_and_whole_frames() {
    let mut server = start(&["--close-timeout", "2"]).await;
    let mut observer = Observer::join(&server).await;
    let clicks = frame(0x81, PLUS).repeat(1000);
    // The slow clients will read again, and the dead ones will not. The server's writes to both are
    // blocked in the middle of a frame.
    let mut blocked = Vec::new();
    for _ in 0..6 {
        let mut stream = knock(server.address).await;
        while timeout(Duration::from_millis(100), stream.write_all(&clicks)).await.is_ok() {}
        blocked.push(stream);
    }
    let dead = blocked.split_off(3);
    let mut listeners = JoinSet::new();
    for clicks in [&[][..], &clicks[..]].repeat(5) {
        let (mut stream, clicks) = (knock(server.address).await, clicks.to_vec());
        listeners.spawn(async move {
            let (mut from, mut to) = stream.split();
            let click = async {
                while !clicks.is_empty() && to.write_all(&clicks).await.is_ok() {}
                std::future::pending().await
            };
            tokio::select! { heard = hear_out(&mut from) => heard, never = click => never }
        });
    }
    let mut half_open = Raw::connect(server.address).await;
    half_open.write(&HANDSHAKE[..50]).await;
    observer.hears_users(17).await;
    let before = observer.told().value;
    observer.hears("the load", |told| told.value > before + 5000).await;

    server.terminate();
    let began = Instant::now();
    for mut stream in blocked {
        listeners.spawn(async move { hear_out(&mut stream).await });
    }
    observer.hears("1001", |told| told.closed == Some(1001)).await;
    let heard = listeners.join_all().await;
    assert!(server.exit().await.success());
    let took = began.elapsed();
    assert!(took < limit(Duration::from_secs(3)), "{took:?}");
    heard.iter().for_each(|heard| assert_whole(heard));
    drop((dead, half_open));
}

#[tokio::test]
async fn a_client_accepted_last_receives_1001() {
    for round in 0..20 {
        let mut server = start(&["--close-timeout", "1"]).await;
        let mut visitors = JoinSet::new();
        for _ in 0..50 {
            let address = server.address;
            visitors.spawn(async move {
                let Ok(mut stream) = TcpStream::connect(address).await else { return 0 };
                _ = stream.write_all(HANDSHAKE.as_bytes()).await;
                let heard = hear_out(&mut stream).await;
                let let_in = heard.starts_with(b"HTTP/1.1 101 ");
                assert_eq!(let_in, heard.ends_with(FAREWELL));
                u32::from(let_in)
            });
        }
        sleep(Duration::from_millis(round)).await;
        server.terminate();
        let let_in: u32 = visitors.join_all().await.iter().sum();
        println!("{let_in} of 50 were accepted after {round} ms");
        assert!(server.exit().await.success());
    }
}
