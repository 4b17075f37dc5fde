use std::time::Duration;

use testing::memory::resident_kib;
use testing::{HANDSHAKE, Program, Raw, frame, soon};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::observer::{Observer, PLUS};
use crate::start;

/// The memory that a flood may cost the server, in KiB.
const GROWTH: u64 = 8 << 10;

fn assert_flat(server: &Program, before: u64) {
    let grown = resident_kib(server.pid()).saturating_sub(before);
    println!("the server grew by {grown} KiB");
    assert!(grown < GROWTH, "the server grew by {grown} KiB");
}

/// Writes `chunk` up to `times` times, until the other side has read nothing for a while. Returns
/// whether everything was written.
async fn flood(stream: &mut TcpStream, chunk: &[u8], times: usize) -> bool {
    for _ in 0..times {
        if timeout(Duration::from_millis(500), stream.write_all(chunk)).await.is_err() {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn pings_from_a_client_that_never_reads() {
    let server = start(&[]).await;
    let mut observer = Observer::join(&server).await;
    let before = resident_kib(server.pid());
    // The kernel can buffer the pongs of the small pings, but not those of pings of 125 bytes.
    for (payload, all) in [(0, true), (125, false)] {
        let mut raw = Raw::open(server.address).await;
        let pings = frame(0x89, vec![b'p'; payload]).repeat(1000);
        assert_eq!(flood(&mut raw.stream, &pings, 200).await, all);
        assert_flat(&server, before);
        observer.is_served().await;
    }
    observer.hears_users(1).await;
}

#[tokio::test]
async fn clicks_from_clients_that_never_read() {
    let server = start(&[]).await;
    let mut observer = Observer::join(&server).await;
    let before = resident_kib(server.pid());
    let clicks = frame(0x81, PLUS).repeat(1000);
    let mut flooders = JoinSet::new();
    for _ in 0..4 {
        let (address, clicks) = (server.address, clicks.clone());
        flooders.spawn(async move {
            let mut raw = Raw::open(address).await;
            assert!(!flood(&mut raw.stream, &clicks, 10_000).await, "the server took everything");
            raw
        });
    }
    let flooders = flooders.join_all().await;
    println!("taken: {:?}", observer.told());
    assert!(observer.told().value > 1000);
    assert_flat(&server, before);
    observer.is_served().await;
    drop(flooders);
    observer.hears_users(1).await;
}

#[tokio::test]
async fn changes_from_a_blocked_client_reach_the_others() {
    let server = start(&[]).await;
    let mut observer = Observer::join(&server).await;
    let before = resident_kib(server.pid());
    // The answers to the invalid events block the peer between its clicks.
    let clicks = [frame(0x81, PLUS), frame(0x81, "no event")].concat().repeat(1000);
    let mut raw = Raw::open(server.address).await;
    assert!(!flood(&mut raw.stream, &clicks, 10_000).await, "the server took everything");
    observer.hears_nothing_for_a_second().await;
    let told = observer.told().value;
    let newcomer = Observer::join(&server).await;
    assert_eq!(told, newcomer.told().value);
    assert_flat(&server, before);
}

#[tokio::test]
async fn ten_thousand_who_connect_and_leave_at_once() {
    let server = start(&[]).await;
    let mut observer = Observer::join(&server).await;
    let before = resident_kib(server.pid());
    for batch in 0..100 {
        let mut visits = JoinSet::new();
        for visit in 0..100 {
            let address = server.address;
            visits.spawn(async move {
                let mut raw = Raw::connect(address).await;
                match visit % 4 {
                    0 => {}
                    1 => raw.write(&HANDSHAKE[..50]).await,
                    2 => raw.write(HANDSHAKE).await,
                    _ => {
                        raw.write(HANDSHAKE).await;
                        raw.head().await;
                    }
                }
                if visit % 3 == 0 {
                    raw.stream.set_zero_linger().unwrap();
                }
            });
        }
        soon("a hundred visits", visits.join_all()).await;
        if batch % 10 == 0 {
            observer.is_served().await;
        }
    }
    observer.hears_users(1).await;
    assert_flat(&server, before);
    assert_eq!(server.log(), "");
}
