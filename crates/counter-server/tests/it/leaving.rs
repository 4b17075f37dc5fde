use std::time::Duration;

use testing::{Raw, frame, soon};
use testing::{limit, usage::descriptors};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::observer::{Observer, PLUS};
use crate::start;

/// The last thing that a client does.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    WithoutAWord,
    ByReset,
    ByHalfClose,
    ByAHalfCloseInTheMiddleOfAFrame,
    WithACloseFrameAndReadsOn,
    WithACloseFrameAndReadsNothing,
    WithACloseFrameAndAReset,
    InTheMiddleOfAHeader,
    InTheMiddleOfAPayload,
    InTheMiddleOfAFragmentedMessage,
}

const WAYS: [Leaves; 10] = [
    Leaves::WithoutAWord,
    Leaves::ByReset,
    Leaves::ByHalfClose,
    Leaves::ByAHalfCloseInTheMiddleOfAFrame,
    Leaves::WithACloseFrameAndReadsOn,
    Leaves::WithACloseFrameAndReadsNothing,
    Leaves::WithACloseFrameAndAReset,
    Leaves::InTheMiddleOfAHeader,
    Leaves::InTheMiddleOfAPayload,
    Leaves::InTheMiddleOfAFragmentedMessage,
];

impl Leaves {
    /// Disconnects. If the kernel must not close the connection, this keeps the socket open.
    async fn leave(self, mut raw: Raw) -> Option<TcpStream> {
        let close = frame(0x88, 1000u16.to_be_bytes());
        let click = frame(0x81, PLUS);
        match self {
            Self::WithoutAWord => return None,
            Self::ByReset => raw.stream.set_zero_linger().unwrap(),
            Self::ByHalfClose => raw.stream.shutdown().await.unwrap(),
            Self::ByAHalfCloseInTheMiddleOfAFrame => {
                raw.write(&click[..7]).await;
                raw.stream.shutdown().await.unwrap();
            }
            Self::WithACloseFrameAndReadsOn => {
                raw.write(close).await;
                assert_eq!(raw.close_code().await, Some(1000));
                assert_eq!(raw.next_frame().await, None);
            }
            Self::WithACloseFrameAndReadsNothing => raw.write(close).await,
            Self::WithACloseFrameAndAReset => {
                raw.write(close).await;
                raw.stream.set_zero_linger().unwrap();
            }
            Self::InTheMiddleOfAHeader => raw.write(&click[..1]).await,
            Self::InTheMiddleOfAPayload => raw.write(&click[..7]).await,
            Self::InTheMiddleOfAFragmentedMessage => raw.frame(0x01, "{\"action").await,
        }
        let stays = matches!(
            self,
            Self::ByHalfClose
                | Self::ByAHalfCloseInTheMiddleOfAFrame
                | Self::WithACloseFrameAndReadsNothing
        );
        stays.then_some(raw.stream)
    }
}

#[tokio::test]
async fn the_user_count_is_correct_after_any_disconnect() {
    let server = start(&[]).await;
    let mut observer = Observer::join(&server).await;
    for way in WAYS {
        let raw = Raw::open(server.address).await;
        observer.hears_users(2).await;
        let stays = way.leave(raw).await;
        let took = observer.hears_users(1).await;
        assert!(took < limit(Duration::from_secs(1)), "{way:?}: {took:?}");
        observer.is_served().await;
        drop(stays);
    }
    assert_eq!(server.log(), "");
}

#[tokio::test]
async fn a_client_that_leaves_mid_write_is_removed() {
    let server = start(&[]).await;
    let mut observer = Observer::join(&server).await;
    let clicks = frame(0x81, PLUS).repeat(1000);
    for reset in [false, true] {
        let mut raw = Raw::open(server.address).await;
        observer.hears_users(2).await;
        // Until the server's writes to this client are blocked, and so its reads, too.
        let pause = Duration::from_millis(300);
        while timeout(pause, raw.stream.write_all(&clicks)).await.is_ok() {}
        if reset {
            raw.stream.set_zero_linger().unwrap();
        }
        drop(raw);
        let took = observer.hears_users(1).await;
        assert!(took < limit(Duration::from_secs(1)), "{took:?}");
    }
    observer.is_served().await;
    assert_eq!(server.log(), "");
}

#[tokio::test]
async fn a_thousand_visits_leave_no_descriptor_behind() {
    let server = start(&[]).await;
    let mut observer = Observer::join(&server).await;
    let before = descriptors(server.pid());
    for _ in 0..10 {
        let visits = WAYS.iter().cycle().take(100).map(async |way| {
            let raw = Raw::open(server.address).await;
            way.leave(raw).await
        });
        soon("a hundred visits", futures_util::future::join_all(visits)).await;
        observer.is_served().await;
    }
    observer.hears_users(1).await;
    let settled = async {
        while descriptors(server.pid()) != before {
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the descriptors to be closed", settled).await;
    assert_eq!(server.log(), "");
}
