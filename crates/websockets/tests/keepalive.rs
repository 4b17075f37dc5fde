//! Tests of the keepalive on a paused clock: hours pass in milliseconds.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tungstenite::protocol::Role;
use tungstenite::{Error, Message};
use websockets::fanout::{Encoded, Frames};
use websockets::{Options, Socket};

/// A server's socket that pings after `interval` seconds and disconnects `timeout` seconds later,
/// and its client. The network between them holds `room` bytes in each direction.
async fn connect(
    interval: u64,
    timeout: u64,
    room: usize,
) -> (Socket, WebSocketStream<DuplexStream>) {
    let (here, there) = duplex(room);
    let options = Options {
        ping_interval: Duration::from_secs(interval),
        ping_timeout: Duration::from_secs(timeout),
        ..Options::default()
    };
    let server = Socket::new(here, &[], Role::Server, options);
    let client = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
    (server, client)
}

fn encoded(messages: impl IntoIterator<Item = Message>) -> Encoded {
    let mut frames = Frames::default();
    messages.into_iter().for_each(|message| frames.push(message));
    frames.into_encoded()
}

fn timed_out(error: Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::TimedOut)
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_stays_for_a_day() {
    let (mut server, mut client) = connect(20, 20, 1024).await;
    let began = Instant::now();
    let mut pings = 0;
    let day = async {
        while began.elapsed() < Duration::from_secs(24 * 3600) {
            // Reading writes the pong.
            assert!(matches!(client.next().await, Some(Ok(Message::Ping(_)))));
            pings += 1;
        }
    };
    tokio::select! {
        () = day => {}
        ended = server.next() => panic!("{ended:?}"),
    }
    assert_eq!(pings, 24 * 3600 / 20);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_times_out_after_a_ping() {
    let (mut server, _client) = connect(20, 15, 1024).await;
    let began = Instant::now();
    assert!(timed_out(server.next().await.unwrap().unwrap_err()));
    assert_eq!(began.elapsed().as_secs(), 35);
}

#[tokio::test(start_paused = true)]
async fn a_pong_in_the_last_moment_is_in_time() {
    let (mut server, mut client) = connect(20, 20, 1024).await;
    let late = async {
        for _ in 0..3 {
            sleep(Duration::from_secs(39)).await;
            while let Some(message) = client.next().now_or_never() {
                message.unwrap().unwrap();
            }
        }
    };
    tokio::select! {
        () = late => {}
        ended = server.next() => panic!("{ended:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_interval_of_zero_sends_no_pings() {
    let (mut server, mut client) = connect(0, 20, 1024).await;
    let hour = Duration::from_secs(3600);
    let quiet = timeout(hour, async { tokio::join!(server.next(), client.next()) }).await;
    assert!(quiet.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_zero_never_disconnects() {
    let (mut server, mut client) = connect(20, 0, 64 << 10).await;
    assert!(timeout(Duration::from_secs(3590), server.next()).await.is_err());
    let mut pings = 0;
    while let Some(Some(Ok(Message::Ping(_)))) = client.next().now_or_never() {
        pings += 1;
    }
    assert_eq!(pings, 3590 / 20);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_write_times_out_after_a_ping() {
    for is_encoded in [false, true] {
        let (mut server, _client) = connect(20, 20, 1024).await;
        let began = Instant::now();
        let sent = match is_encoded {
            false => server.send(Message::binary(vec![0; 1 << 20])).await,
            true => server.send_encoded(encoded([Message::binary(vec![0; 1 << 20])])).await,
        };
        assert!(timed_out(sent.unwrap_err()));
        assert_eq!(began.elapsed().as_secs(), 40);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pong_during_a_blocked_write_counts() {
    let (mut server, mut client) = connect(20, 20, 1024).await;
    let began = Instant::now();
    let server = async {
        // The ping goes out after 20 s.
        assert!(timeout(Duration::from_secs(21), server.next()).await.is_err());
        server.send(Message::binary(vec![0; 10 << 10])).await.unwrap();
        // The pong is overdue after 40 s, while the write is still blocked.
        assert_eq!(began.elapsed().as_secs(), 50);
    };
    let client = async {
        assert!(client.next().await.unwrap().unwrap().is_ping());
        client.flush().await.unwrap();
        sleep(Duration::from_secs(30)).await;
        assert!(client.next().await.unwrap().unwrap().is_binary());
    };
    tokio::join!(server, client);
}

#[tokio::test(start_paused = true)]
async fn a_handler_receives_no_control_frames() {
    let (mut server, mut client) = connect(20, 20, 1024).await;
    client.send(Message::Ping("?".into())).await.unwrap();
    client.send(Message::Pong("!".into())).await.unwrap();
    client.send(Message::text("hello")).await.unwrap();
    client.close(None).await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("hello"));
    assert!(server.next().await.is_none());
    assert_eq!(server.closed(), Some(None));
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong("?".into()));
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Close(None));
}

#[tokio::test(start_paused = true)]
async fn a_partly_written_frame_is_finished_first() {
    let (mut server, mut client) = connect(1, 0, 64).await;
    // One frame of 100 bytes, then one of 3: more than the network holds.
    let frames = encoded([Message::binary(vec![7; 100]), Message::text("a")]);
    assert!(server.send_encoded(frames).now_or_never().is_none());
    // The send was dropped half way. Pings fall due, a ping wants an answer, a message goes out.
    client.send(Message::Ping("?".into())).await.unwrap();
    let server = async {
        assert!(timeout(Duration::from_secs(3), server.next()).await.is_err());
        server.send(Message::text("b")).await.unwrap();
        server.next().await
    };
    let client = async {
        sleep(Duration::from_secs(5)).await;
        let mut heard = Vec::new();
        while heard.len() < 3 {
            match client.next().await.unwrap().unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => heard.push(message),
            }
        }
        client.close(None).await.unwrap();
        heard
    };
    let (_, heard) = tokio::join!(server, client);
    assert_eq!(heard, [Message::binary(vec![7; 100]), Message::text("a"), Message::text("b")]);
}

#[tokio::test(start_paused = true)]
async fn unread_pongs_pause_reading_of_pings() {
    let (mut server, client) = connect(0, 0, 256).await;
    let (mut sink, mut stream) = client.split();
    let mut sent = 0;
    let flood = async {
        loop {
            sink.send(Message::Ping(vec![0; 100].into())).await.unwrap();
            sent += 1;
        }
    };
    // Both sides' networks fill up, and then nothing moves.
    let full = async { tokio::join!(flood, server.next()) };
    assert!(timeout(Duration::from_secs(60), full).await.is_err());
    assert!(sent < 20, "{sent} pings were taken in");
    // When the peer reads again, every ping is answered.
    let pongs = async {
        for _ in 0..sent {
            assert!(stream.next().await.unwrap().unwrap().is_pong());
        }
    };
    let answered = async { tokio::join!(pongs, sink.flush()) };
    tokio::select! {
        _ = answered => {}
        ended = server.next() => panic!("{ended:?}"),
    }
}
