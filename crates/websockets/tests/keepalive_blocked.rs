//! Tests of the keepalive while a write to the peer is blocked, on a paused clock.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use testing::frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};
use tungstenite::protocol::Role;
use tungstenite::{Error, Message};
use websockets::fanout::Frames;
use websockets::{Options, Socket};

const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const SECOND: Duration = Duration::from_secs(1);

/// A server's socket that pings after 20 s and disconnects 20 s later, and the bytes that it sends
/// and receives. The network holds 1 KiB in each direction.
fn connect() -> (Socket, DuplexStream) {
    let (here, there) = duplex(1024);
    (Socket::new(here, &[], Role::Server, Options::default()), there)
}

fn timed_out(sent: Result<(), Error>) -> bool {
    matches!(sent, Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut)
}

/// Sends 10 KiB in one way or the other.
async fn send(server: &mut Socket, encoded: bool) -> Result<(), Error> {
    match encoded {
        false => server.send(Message::binary(vec![7; 10 << 10])).await,
        true => {
            let mut frames = Frames::default();
            frames.push(vec![7; 10 << 10]);
            server.send_encoded(frames.into_encoded()).await
        }
    }
}

#[tokio::test(start_paused = true)]
async fn any_whole_message_after_a_ping_counts() {
    let click = frame(TEXT, "click");
    for frames in [
        frame(PONG, ""),
        [click.clone(), frame(PONG, "")].concat(),
        [click.repeat(50), frame(PONG, "")].concat(),
        [frame(PING, "?"), frame(PONG, "")].concat(),
        click,
        frame(PING, "?"),
    ] {
        for encoded in [false, true] {
            let (mut server, mut client) = connect();
            let began = Instant::now();
            let server = async {
                // The ping goes out after 20 s.
                assert!(timeout(21 * SECOND, server.next()).await.is_err());
                send(&mut server, encoded).await.unwrap();
                // Without a sign of life it would have been over after 40 s.
                assert_eq!(began.elapsed().as_secs(), 50);
            };
            let client = async {
                sleep(25 * SECOND).await;
                client.write_all(&frames).await.unwrap();
                sleep(25 * SECOND).await;
                // The ping, and the message.
                client.read_exact(&mut [0; 2 + 4 + (10 << 10)]).await.unwrap();
            };
            tokio::join!(server, client);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_is_alive() {
    for encoded in [false, true] {
        let (mut server, mut client) = connect();
        let began = Instant::now();
        let server = async {
            for _ in 0..2 {
                send(&mut server, encoded).await.unwrap();
            }
            assert!(began.elapsed() > 100 * SECOND);
            server
        };
        let client = async {
            // Four parts of each message, of which one alone takes almost a timeout.
            for _ in 0..8 {
                sleep(19 * SECOND).await;
                client.read_exact(&mut [0; 2560]).await.unwrap();
            }
            client
        };
        // From now on it reads nothing.
        let (mut server, _client) = tokio::join!(server, client);
        let stopped = Instant::now();
        assert!(timed_out(send(&mut server, encoded).await));
        assert!(stopped.elapsed() <= 60 * SECOND, "{:?}", stopped.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_ping_is_none() {
    for encoded in [false, true] {
        let (mut server, mut client) = connect();
        let began = Instant::now();
        client.write_all(&frame(TEXT, "click").repeat(50)).await.unwrap();
        let server = async {
            assert!(server.next().await.unwrap().unwrap().is_text());
            assert!(timed_out(send(&mut server, encoded).await));
            assert_eq!(began.elapsed().as_secs(), 40);
        };
        server.await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_dies_after_data_times_out() {
    let (mut server, mut client) = connect();
    let began = Instant::now();
    let server = async {
        assert!(server.next().await.unwrap().unwrap().is_text());
        assert!(timed_out(server.next().await.unwrap().map(drop)));
        assert_eq!(began.elapsed().as_secs(), 60);
    };
    let client = async {
        sleep(21 * SECOND).await;
        client.write_all(&frame(TEXT, "click")).await.unwrap();
    };
    tokio::join!(server, client);
}

#[tokio::test(start_paused = true)]
async fn a_pong_behind_other_messages_still_tells_the_latency() {
    let (mut server, mut client) = connect();
    let server = async {
        for _ in 0..3 {
            assert!(server.next().await.unwrap().unwrap().is_text());
            assert_eq!(server.latency(), None);
        }
        assert!(timeout(10 * SECOND, server.next()).await.is_err());
        assert_eq!(server.latency(), Some(5 * SECOND));
    };
    let client = async {
        sleep(22 * SECOND).await;
        client.write_all(&frame(TEXT, "click").repeat(3)).await.unwrap();
        sleep(3 * SECOND).await;
        client.write_all(&frame(PONG, "")).await.unwrap();
    };
    tokio::join!(server, client);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_never_ends_is_none() {
    let (mut server, mut client) = connect();
    let began = Instant::now();
    let trickle = async {
        client.write_all(&frame(0x01, "")).await.unwrap();
        loop {
            sleep(SECOND).await;
            client.write_all(&frame(0x00, "x")).await.unwrap();
        }
    };
    tokio::select! {
        () = trickle => {}
        ended = server.next() => assert!(timed_out(ended.unwrap().map(drop))),
    }
    assert_eq!(began.elapsed().as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn messages_read_ahead_keep_their_order() {
    let (mut server, client) = connect();
    let number = |n: u32| frame(TEXT, n.to_string());
    let server = async {
        send(&mut server, true).await.unwrap();
        for n in 0..2000 {
            assert_eq!(server.next().await.unwrap().unwrap(), Message::text(n.to_string()));
        }
        assert!(server.next().await.is_none());
    };
    let client = async {
        let (mut from, mut to) = tokio::io::split(client);
        let say = async {
            for n in 0..2000 {
                to.write_all(&number(n)).await.unwrap();
            }
            to.write_all(&frame(0x88, "")).await.unwrap();
        };
        let hear = async {
            sleep(10 * SECOND).await;
            let mut heard = vec![0; 4 + (10 << 10) + 2];
            from.read_exact(&mut heard).await.unwrap();
            assert!(heard.ends_with(&[7, 0x88, 0]));
        };
        tokio::join!(say, hear);
    };
    tokio::join!(server, client);
}

#[tokio::test(start_paused = true)]
async fn reading_ahead_has_a_memory_limit() {
    for payload in ["", "click", &"x".repeat(3000)] {
        let (mut server, mut client) = connect();
        let mut taken = 0;
        let flood = async {
            loop {
                client.write_all(&frame(TEXT, payload)).await.unwrap();
                taken += 6 + payload.len();
            }
        };
        let blocked = async {
            tokio::select! { never = flood => never, sent = send(&mut server, true) => sent }
        };
        assert!(timed_out(blocked.await));
        assert!(taken > 1024 && taken < 32 << 10, "{taken} bytes were taken");
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_written_frame_pauses_reading_of_pings() {
    let (mut server, mut client) = connect();
    let mut sent = 0;
    let flood = async {
        loop {
            client.write_all(&frame(PING, [0; 100])).await.unwrap();
            sent += 1;
        }
    };
    let blocked = async {
        tokio::select! { never = flood => never, sent = send(&mut server, true) => sent }
    };
    assert!(timed_out(blocked.await));
    // The bytes that the network holds, and those that are read at once.
    assert!(sent < 60, "{sent} pings were taken in");
}

#[tokio::test(start_paused = true)]
async fn halves_in_two_tasks_wake_each_other() {
    let (server, mut client) = connect();
    let (mut sink, mut stream) = server.split();
    let sender = tokio::spawn(async move {
        for _ in 0..10 {
            sink.send(Message::binary(vec![7; 10 << 10])).await.unwrap();
        }
        sink
    });
    let reader = tokio::spawn(async move {
        for _ in 0..10 {
            assert!(stream.next().await.unwrap().unwrap().is_text());
        }
        stream
    });
    let mut message = vec![0; 4 + (10 << 10)];
    for _ in 0..10 {
        // The reader's pong waits for the sender's message, and then takes its place.
        client.write_all(&[frame(PING, ""), frame(TEXT, "click")].concat()).await.unwrap();
        sleep(SECOND).await;
        client.read_exact(&mut message).await.unwrap();
    }
    let mut pongs = [0; 20];
    client.read_exact(&mut pongs).await.unwrap();
    let both = timeout(SECOND, async { tokio::join!(sender, reader) }).await.unwrap();
    assert!(both.0.is_ok() && both.1.is_ok());
}
