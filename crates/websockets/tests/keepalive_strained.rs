//! Tests of the keepalive on networks that stutter or are full, and with peers that never pause.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tungstenite::protocol::Role;
use tungstenite::{Error, Message};
use websockets::fanout::Frames;
use websockets::socket::Io;
use websockets::{Options, Socket};

/// A server's socket on `network`, which pings after this number of seconds, and disconnects after
/// the same time.
fn server(network: impl Io, seconds: u64) -> Socket {
    let pause = Duration::from_secs(seconds);
    let options = Options { ping_interval: pause, ping_timeout: pause, ..Options::default() };
    Socket::new(network, &[], Role::Server, options)
}

/// A network that accepts only every second write, and at most 50 bytes of it, and in the end
/// nothing.
#[derive(Debug)]
struct Stutter(DuplexStream, bool, usize);

impl AsyncRead for Stutter {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stutter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1 = !self.1;
        let taken = bytes.len().min(50).min(self.2);
        if !self.1 || taken == 0 {
            return Poll::Pending;
        }
        self.2 -= taken;
        Pin::new(&mut self.0).poll_write(cx, &bytes[..taken])
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_pong_check_interrupts_no_frame() {
    for opcode in [0x89, 0x88] {
        let (here, mut there) = duplex(64 << 10);
        let mut server = server(Stutter(here, false, 1000), 1);
        // A ping or a close, which wants an answer, while a frame is half written.
        there.write_all(&[opcode, 0x80, 0, 0, 0, 0]).await.unwrap();
        let mut frames = Frames::default();
        frames.push(vec![7; 4096]);
        let error = server.send_encoded(frames.into_encoded()).await.unwrap_err();
        match opcode {
            0x88 => assert!(matches!(error, Error::AlreadyClosed), "{error}"),
            _ => assert!(matches!(error, Error::Io(e) if e.kind() == io::ErrorKind::TimedOut)),
        }
        drop(server);
        let mut taken = Vec::new();
        there.read_to_end(&mut taken).await.unwrap();
        assert!(taken.len() > 4 && taken.len() < 4100, "{}", taken.len());
        assert!(taken[4..].iter().all(|byte| *byte == 7), "{taken:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_ping_is_sent_later() {
    let (here, there) = duplex(64);
    let mut server = server(here, 20);
    let mut client = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
    // Fills the network to the last byte.
    server.send(Message::binary(vec![0; 62])).await.unwrap();
    let client = async {
        sleep(Duration::from_secs(25)).await;
        while let Some(Ok(_)) = client.next().await {}
    };
    tokio::select! {
        () = client => {}
        ended = timeout(Duration::from_secs(60), server.next()) => assert!(ended.is_err()),
    }
}

#[tokio::test]
async fn a_flooding_client_leaves_the_handler_time_slices() {
    let (here, there) = duplex(1 << 20);
    let mut server = server(here, 20);
    let mut client = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
    for _ in 0..10_000 {
        client.feed(Message::text("more")).await.unwrap();
    }
    client.flush().await.unwrap();
    let (mut in_a_row, mut longest, mut turns) = (0, 0, 0);
    for _ in 0..10_000 {
        tokio::select! {
            biased;
            message = server.next() => {
                assert!(message.unwrap().unwrap().is_text());
                in_a_row += 1;
                longest = longest.max(in_a_row);
            }
            () = std::future::ready(()) => {
                in_a_row = 0;
                turns += 1;
            }
        }
    }
    assert!(longest <= 128, "{longest} in a row");
    assert!(turns < 1000, "{turns} turns");
}
