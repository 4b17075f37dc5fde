use std::cell::Cell;
use std::time::Duration;

use testing::{Peer, Raw, frame, soon};
use tokio::io::AsyncReadExt;
use tokio::time::sleep;

use crate::{event, join, start, users};

/// Runs `attack` while `observer` clicks and receives the value of every click.
async fn beside_clicks<T>(observer: &mut Peer, attack: impl Future<Output = T>) -> T {
    let over = Cell::new(false);
    let attack = async {
        let result = attack.await;
        over.set(true);
        result
    };
    let clicks = async {
        let mut value = None;
        loop {
            observer.send(r#"{"action":"plus"}"#).await;
            let told = loop {
                let told = event(observer).await;
                if told["type"] == "state" {
                    break told["value"].as_i64().unwrap();
                }
            };
            assert!(value.is_none_or(|value| value + 1 == told), "{value:?}, then {told}");
            value = Some(told);
            if over.get() {
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(attack, clicks).0
}

/// The server answers each of these attacks with this code, and ends the connection without a
/// reset. An observer continues, and in the end it is the only user.
async fn refused(code: u16, attacks: &[Vec<u8>]) {
    let server = start(&[]).await;
    let mut observer = join(&server, 1, 0).await;
    beside_clicks(&mut observer, async {
        for attack in attacks {
            let shown = &attack[..attack.len().min(20)];
            let mut raw = Raw::open(server.address).await;
            raw.write(attack).await;
            assert_eq!(raw.close_code().await, Some(code), "{shown:x?}");
            let end = soon("the end", raw.stream.read(&mut [0])).await;
            assert!(matches!(end, Ok(0)), "{shown:x?}: {end:?}");
        }
    })
    .await;
    let alone = async { while event(&mut Peer::connect(&server.url()).await).await != users(2) {} };
    soon("the observer to be alone", alone).await;
}

/// A header that announces `length` bytes, without any of them.
fn claim(first: u8, length: u64) -> Vec<u8> {
    [&[first, 0x80 | 127], &length.to_be_bytes()[..], &[0; 4]].concat()
}

#[tokio::test]
async fn an_invalid_frame_closes_with_1002() {
    let mut attacks = vec![
        // Not masked: text, nothing, a ping.
        vec![0x81, 1, b'a'],
        vec![0x82, 0],
        vec![0x89, 0],
        // Control frames that are fragmented or over-long.
        frame(0x08, ""),
        frame(0x09, ""),
        frame(0x0a, ""),
        frame(0x88, [&[3, 0xe8], &[b'a'; 124][..]].concat()),
        frame(0x89, [0; 126]),
        frame(0x8a, [0; 126]),
        frame(0x89, [0; 70_000]),
        // A continuation of nothing, and a message inside a message.
        frame(0x80, ""),
        frame(0x00, "a"),
        [frame(0x81, "{}"), frame(0x80, "a")].concat(),
        [frame(0x01, "a"), frame(0x81, "b")].concat(),
        [frame(0x01, "a"), frame(0x00, "b"), frame(0x02, "c")].concat(),
    ];
    for reserved in [0x40, 0x20, 0x10, 0x70] {
        attacks.extend([0x81, 0x82, 0x88, 0x89, 0x8a].map(|first| frame(first | reserved, "")));
        attacks.push([frame(0x01, "a"), frame(0x80 | reserved, "b")].concat());
    }
    attacks.extend([3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(|opcode| frame(0x80 | opcode, "a")));
    refused(1002, &attacks).await;
}

#[tokio::test]
async fn invalid_utf8_closes_with_1007_even_if_split() {
    let bad: [&[u8]; 8] = [
        b"\xff",
        b"a\x80",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"\xf0\x9f\xa6",
        b"{\"action\":\"plus\",\"x\":\"\xfe\"}",
    ];
    let mut attacks = Vec::new();
    for text in bad {
        attacks.push(frame(0x81, text));
        for at in 0..=text.len() {
            attacks.push([frame(0x01, &text[..at]), frame(0x80, &text[at..])].concat());
        }
        // The reason of a close frame is text, too.
        attacks.push(frame(0x88, [&[3, 0xe8], text].concat()));
    }
    // Text that can no longer become valid is rejected before its message ends.
    attacks.push(frame(0x01, b"\xff"));
    attacks.push([frame(0x01, b"\xf0\x9f"), frame(0x00, b"a")].concat());
    refused(1007, &attacks).await;
}

#[tokio::test]
async fn an_invalid_close_code_gets_1002() {
    let codes = [0, 1, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    let mut attacks: Vec<_> = codes.map(|code: u16| frame(0x88, code.to_be_bytes())).into();
    attacks.push(frame(0x88, [3]));
    attacks.push(frame(0x88, [0]));
    refused(1002, &attacks).await;
}

#[tokio::test]
async fn a_close_frame_before_more_data_is_answered() {
    for (first, code) in [(1000_u16, 1000), (999, 1002)] {
        let more = frame(0x82, vec![0; 200 << 10]);
        refused(code, &[[frame(0x88, first.to_be_bytes()), more].concat()]).await;
    }
}

#[tokio::test]
async fn an_oversized_frame_header_closes_with_1009() {
    let lengths = [(1 << 20) + 1, 1 << 32, 1 << 40, 1 << 63, u64::MAX];
    let firsts = [0x81, 0x82, 0x01, 0x02];
    let attacks: Vec<_> =
        lengths.iter().flat_map(|&length| firsts.map(|first| claim(first, length))).collect();
    refused(1009, &attacks).await;
    let begun = [frame(0x01, "a"), claim(0x80, 1 << 40)].concat();
    refused(1009, &[begun]).await;
}

/// Memory that the allocator and newly used code may add, in KiB. A fault would cost at least
/// `max_size`, which is 1 MiB.
#[cfg(target_os = "linux")]
const NOISE: u64 = 512;

/// Runs `attack` next to an observer, and returns the largest growth of the server's memory, in
/// KiB.
#[cfg(target_os = "linux")]
async fn cost(server: &testing::Program, attack: impl AsyncFn()) -> u64 {
    let mut observer = join(server, 1, 0).await;
    // The first rejections load the code and fill the allocator's small blocks for all later ones.
    for _ in 0..10 {
        let mut raw = Raw::open(server.address).await;
        raw.frame(0x01, "").await;
        raw.write(frame(0x00, vec![b'a'; 1000]).repeat(100)).await;
        raw.write(claim(0x00, 1 << 40)).await;
        assert_eq!(raw.close_code().await, Some(1009));
    }
    beside_clicks(&mut observer, sleep(Duration::from_millis(100))).await;
    let before = testing::memory::forget_peak(server.pid());
    beside_clicks(&mut observer, attack()).await;
    testing::memory::peak_kib(server.pid()) - before
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_huge_announced_frame_costs_no_memory() {
    let server = start(&[]).await;
    let attack = async || {
        let mut raw = Raw::open(server.address).await;
        assert_eq!(raw.flood(&claim(0x82, 1 << 40)).await, Some(1009));
    };
    let cost = cost(&server, attack).await;
    eprintln!("2^40 bytes: {cost} KiB");
    assert!(cost < NOISE, "{cost} KiB");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn endless_small_fragments_close_with_1009() {
    for (first, length) in [(0x01, 1), (0x02, 1), (0x01, 100), (0x02, 4096)] {
        let server = start(&[]).await;
        let attack = async || {
            let mut raw = Raw::open(server.address).await;
            raw.frame(first, "").await;
            let fragments = frame(0x00, vec![b'a'; length]).repeat(1000);
            assert_eq!(raw.flood(&fragments).await, Some(1009));
        };
        let cost = cost(&server, attack).await;
        eprintln!("fragments of {length}: {cost} KiB");
        assert!(cost < 1024 + NOISE, "fragments of {length}: {cost} KiB");
    }
}

/// They never make a message that is too large, and cost no more than pings. A client that sends
/// nothing else answers no ping, so the keepalive ends the connection.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn endless_empty_fragments_close_with_1011_cheaply() {
    let server = start(&["--ping-interval", "0.3", "--ping-timeout", "0.3"]).await;
    let attack = async || {
        let mut raw = Raw::open(server.address).await;
        raw.frame(0x01, "").await;
        assert_eq!(raw.flood(&frame(0x00, "").repeat(1000)).await, Some(1011));
    };
    let cost = cost(&server, attack).await;
    eprintln!("empty fragments: {cost} KiB");
    assert!(cost < NOISE, "{cost} KiB");
}
