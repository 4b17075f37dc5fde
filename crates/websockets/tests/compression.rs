//! permessage-deflate (RFC 7692) against the examples, byte for byte.

use std::future::pending;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use testing::{HANDSHAKE, Program, Raw, built, frame};
use tokio::net::TcpListener;
use tungstenite::http::{HeaderMap, HeaderValue, header};
use websockets::{Flags, Request, Response, Result, Server, Socket};

const OFFER: &str = "permessage-deflate; client_max_window_bits";

const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const CLOSE: u8 = 0x88;
/// A whole text and a whole binary message, compressed.
const DEFLATED: u8 = 0xc1;
const DEFLATED_BINARY: u8 = 0xc2;
/// The first fragment of a compressed text, one in the middle, and the last.
const FIRST: u8 = 0x41;
const MIDDLE: u8 = 0x00;
const LAST: u8 = 0x80;

async fn start(example: &str, flags: &[&str]) -> Program {
    let fixed = ["localhost:0", "--ping-interval", "0"];
    Program::start(&built(&format!("examples/{example}")), &[&fixed, flags].concat()).await
}

async fn echo() -> Program {
    start("echo", &["--compression", "deflate"]).await
}

/// A connection that offers `offer`, and the extensions of the response.
async fn open(server: &Program, offer: &str) -> (Raw, Option<String>) {
    open_at(server.address, offer).await
}

async fn open_at(address: std::net::SocketAddr, offer: &str) -> (Raw, Option<String>) {
    let mut raw = Raw::connect(address).await;
    let offer = format!("Sec-WebSocket-Extensions: {offer}\r\nHost:");
    raw.write(HANDSHAKE.replace("Host:", &offer)).await;
    let head = raw.head().await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    let header = |line: &str| Some(line.strip_prefix("sec-websocket-extensions: ")?.to_owned());
    let accepted = head.lines().find_map(header);
    (raw, accepted)
}

/// A connection that has agreed on compression.
async fn agreed(server: &Program) -> Raw {
    let (raw, accepted) = open(server, OFFER).await;
    assert!(accepted.is_some());
    raw
}

fn deflate(message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    let mut deflated = Vec::with_capacity(message.len() + 1000);
    let mut zlib = Compress::new(Compression::default(), false);
    zlib.compress_vec(message, &mut deflated, FlushCompress::Sync).unwrap();
    assert_eq!(deflated.split_off(deflated.len() - 4), [0, 0, 0xff, 0xff]);
    deflated
}

/// `limit` is the size of the largest window that the sender may use, in bits.
fn inflate(deflated: &[u8], limit: u8) -> Vec<u8> {
    let deflated = [deflated, &[0, 0, 0xff, 0xff]].concat();
    let mut message = Vec::with_capacity(2 << 20);
    let mut zlib = Decompress::new_with_window_bits(false, limit);
    zlib.decompress_vec(&deflated, &mut message, FlushDecompress::Sync).unwrap();
    message
}

/// Bytes that do not become shorter.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(&mut next).take(length).collect()
}

#[tokio::test]
async fn only_an_offer_is_answered() {
    let both = "; server_no_context_takeover; client_no_context_takeover";
    let server = echo().await;
    for (offer, window) in [
        ("permessage-deflate", Some("")),
        ("a, permessage-deflate; server_max_window_bits=10", Some("; server_max_window_bits=10")),
        ("a", None),
        ("permessage-deflate; server_max_window_bits=8", None),
    ] {
        let expected = window.map(|window| format!("permessage-deflate{both}{window}"));
        assert_eq!(open(&server, offer).await.1, expected, "{offer}");
    }
    // The default of a server is to compress nothing.
    let plain = start("echo", &[]).await;
    assert_eq!(open(&plain, OFFER).await.1, None);
}

#[tokio::test]
async fn messages_are_compressed_in_both_directions() {
    let server = echo().await;
    for (offer, window) in [(OFFER, 15), ("permessage-deflate; server_max_window_bits=9", 9)] {
        let (mut raw, _) = open(&server, offer).await;
        for (first, message) in [
            (DEFLATED, "chat message ".repeat(2000).into_bytes()),
            (DEFLATED_BINARY, vec![7; 1 << 20]),
        ] {
            raw.frame(first, deflate(&message)).await;
            let (came, payload) = raw.next_frame().await.unwrap();
            assert_eq!(came, first);
            assert!(payload.len() < message.len() / 10 && inflate(&payload, window) == message);
        }
        // What is short or does not become shorter stays as it is, and so may a client's messages.
        for message in [&b""[..], b"hello", &noise(1000)] {
            for (first, payload) in
                [(0xc2, deflate([b"", message].concat())), (0x82, message.to_vec())]
            {
                let payload = if payload.is_empty() && first == 0xc2 { vec![0] } else { payload };
                raw.frame(first, payload).await;
                assert_eq!(raw.next_frame().await, Some((0x82, message.to_vec())));
            }
        }
    }
}

#[tokio::test]
async fn a_message_may_arrive_in_any_fragments() {
    let server = echo().await;
    let text = "Grüße, 🦀! ".repeat(300);
    let deflated = deflate(&text);
    let (start, rest) = deflated.split_at(1);
    let (middle, end) = rest.split_at(rest.len() / 2);
    let frames = [
        frame(FIRST, start),
        frame(PING, "1"),
        frame(MIDDLE, ""),
        frame(MIDDLE, middle),
        frame(PING, "2"),
        frame(MIDDLE, ""),
        frame(LAST, end),
        // The next message is a plain one.
        frame(TEXT, "bye"),
    ];
    let whole = frames.concat();
    let bytes: Vec<&[u8]> = whole.chunks(1).collect();
    for pieces in [vec![&whole[..]], frames.iter().map(Vec::as_slice).collect(), bytes] {
        let mut raw = agreed(&server).await;
        for piece in pieces {
            raw.write(piece).await;
        }
        assert_eq!(raw.next_frame().await, Some((PONG, b"1".to_vec())));
        assert_eq!(raw.next_frame().await, Some((PONG, b"2".to_vec())));
        let (first, payload) = raw.next_frame().await.unwrap();
        assert!(first == DEFLATED && inflate(&payload, 15) == text.as_bytes());
        assert_eq!(raw.next_frame().await, Some((TEXT, b"bye".to_vec())));
    }
}

#[tokio::test]
async fn every_fault_has_its_close_code() {
    let server = start("echo", &["--compression", "deflate", "--max-size", "1000"]).await;
    let hello = &deflate("Hello, hello, hello!")[..];
    let half = &hello[..hello.len() / 2];
    let large = &deflate(vec![b'a'; 1001])[..];
    // Four blocks without data, again and again.
    let blocks = &[0x02, 0x08, 0x20, 0x80, 0x00].repeat(250)[..];
    for (frames, code) in [
        // Reserved bits in the wrong place.
        (vec![(FIRST, half), (0xc0, &hello[half.len()..])], 1002),
        (vec![(TEXT & 0x7f, b"a"), (0xc0, hello)], 1002),
        (vec![(PING | 0x40, b"a")], 1002),
        (vec![(CLOSE | 0x40, b"\x03\xe8")], 1002),
        (vec![(0xa1, b"a")], 1002),
        (vec![(0x91, b"a")], 1002),
        (vec![(0xe1, hello)], 1002),
        (vec![(0xd1, hello)], 1002),
        // A message inside of another one.
        (vec![(FIRST, half), (DEFLATED, hello)], 1002),
        (vec![(FIRST, half), (TEXT, b"a")], 1002),
        (vec![(FIRST, b""), (TEXT, b"a")], 1002),
        (vec![(TEXT & 0x7f, b"a"), (DEFLATED, hello)], 1002),
        (vec![(LAST, hello)], 1002),
        // Data that does not inflate, that is cut off, or that is not UTF-8.
        (vec![(DEFLATED, b"\xff\xff\xff")], 1007),
        (vec![(DEFLATED, b"")], 1007),
        (vec![(DEFLATED, half)], 1007),
        (vec![(FIRST, half), (LAST, b"")], 1007),
        (vec![(DEFLATED, &deflate(b"\xff\xfe")[..])], 1007),
        // Longer than --max-size once it is inflated.
        (vec![(DEFLATED, large)], 1009),
        (vec![(FIRST, &large[..2]), (LAST, &large[2..])], 1009),
        // Longer than a compressor makes it, although it is short once it is inflated.
        (vec![(FIRST, blocks), (0x00, blocks)], 1009),
    ] {
        let mut raw = agreed(&server).await;
        for (first, payload) in &frames {
            raw.frame(*first, payload).await;
        }
        assert_eq!(raw.close_code().await, Some(code), "{frames:x?}");
    }
    server.logged("closed with 1007: a compressed message does not inflate").await;
    // Without an agreement, a compressed message breaks RFC 6455.
    let mut raw = Raw::open(server.address).await;
    raw.frame(DEFLATED, hello).await;
    assert_eq!(raw.close_code().await, Some(1002));
}

#[tokio::test]
async fn a_message_of_max_size_may_compress_longer() {
    let server = start("echo", &["--compression", "deflate", "--max-size", "5000"]).await;
    let mut raw = agreed(&server).await;
    let message = noise(5000);
    let deflated = deflate(&message);
    assert!(deflated.len() > message.len());
    raw.frame(DEFLATED_BINARY, &deflated).await;
    assert_eq!(raw.next_frame().await, Some((0x82, message)));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_bomb_costs_no_memory() {
    let server = echo().await;
    // The compressor of the thread and the first message are not the bomb's.
    let mut raw = agreed(&server).await;
    raw.frame(DEFLATED_BINARY, deflate(vec![0; 1 << 20])).await;
    raw.next_frame().await.unwrap();
    let before = testing::memory::forget_peak(server.pid());
    // Each of 16 MiB, and none is the last.
    let fragment = deflate(vec![0; 16 << 20]);
    assert!(fragment.len() < 20_000);
    let bomb = [&[frame(0x42, &fragment)][..], &vec![frame(MIDDLE, &fragment); 63]].concat();
    // The server closes before it has read everything.
    assert_eq!(raw.flood(&bomb.concat()).await, Some(1009));
    let cost = testing::memory::peak_kib(server.pid()).saturating_sub(before);
    println!("{cost} KiB");
    assert!(cost < 6 << 10, "{cost} KiB");
}

#[tokio::test]
async fn process_request_cannot_change_what_was_agreed() {
    async fn handler(socket: &mut Socket) -> Result<()> {
        socket.recv().await?;
        Ok(())
    }
    async fn overwrite(_: &mut Request, headers: &mut HeaderMap) -> Option<Response> {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("a"));
        None
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let flags = Flags { compression: websockets::Compression::Deflate, ..Flags::default() };
    let server = Server::new(flags).process_request(overwrite);
    tokio::spawn(server.serve_on(vec![listener], handler, pending()));
    let (_raw, accepted) = open_at(address, OFFER).await;
    assert!(accepted.unwrap().starts_with("permessage-deflate"));
}

#[tokio::test]
async fn every_client_of_a_room_gets_the_same_order() {
    let server = start("broadcast", &["--compression", "deflate"]).await;
    let offers = [
        Some(OFFER),
        None,
        Some(OFFER),
        Some("permessage-deflate; server_max_window_bits=9"),
        None,
    ];
    let mut clients = Vec::new();
    for offer in offers {
        let raw = match offer {
            Some(offer) => open(&server, offer).await.0,
            None => Raw::open(server.address).await,
        };
        clients.push(raw);
        // A client that has its own message has joined.
        clients.last_mut().unwrap().frame(TEXT, "joined").await;
        for (client, offer) in clients.iter_mut().zip(offers) {
            assert_eq!(receive(client, offer).await, ("joined".into(), false));
        }
    }
    let message = |number| format!("{number} {}", "chat message ".repeat(number * 7 % 40));
    // Two clients send by turns.
    let mut sent = Vec::new();
    for number in 0..500 {
        clients[number % 2].frame(TEXT, message(number)).await;
    }
    for (client, offer) in clients.iter_mut().zip(offers) {
        let mut texts = Vec::new();
        for _ in 0..500 {
            let (text, is_compressed) = receive(client, offer).await;
            // What is compressed for all has the largest window.
            assert_eq!(is_compressed, offer == Some(OFFER) && text.len() >= 128, "{text}");
            texts.push(text);
        }
        if sent.is_empty() {
            sent.clone_from(&texts);
        }
        assert!(texts == sent, "another order");
    }
    sent.sort();
    let mut all: Vec<_> = (0..500).map(message).collect();
    all.sort();
    assert!(sent == all);
}

/// The fan-out compresses 64 KiB in each round.
#[tokio::test]
async fn a_burst_is_compressed_in_several_rounds() {
    let server = start("broadcast", &["--compression", "deflate"]).await;
    let offers = [Some(OFFER), None];
    let mut clients = vec![agreed(&server).await];
    for _ in 0..offers.len() {
        clients.last_mut().unwrap().frame(TEXT, "joined").await;
        for (client, offer) in clients.iter_mut().zip(offers) {
            assert_eq!(receive(client, offer).await, ("joined".into(), false));
        }
        if clients.len() < offers.len() {
            clients.push(Raw::open(server.address).await);
        }
    }
    let texts: Vec<_> = (0..80).map(|n| format!("{n} {}", "burst ".repeat(1000))).collect();
    let frames: Vec<_> = texts.iter().flat_map(|text| frame(TEXT, text)).collect();
    clients[0].write(frames).await;
    for (client, offer) in clients.iter_mut().zip(offers) {
        for text in &texts {
            assert_eq!(receive(client, offer).await, (text.clone(), offer.is_some()));
        }
    }
}

/// The next text, and whether it was compressed.
async fn receive(client: &mut Raw, offer: Option<&str>) -> (String, bool) {
    let (first, payload) = client.next_frame().await.unwrap();
    assert!(first == TEXT || first == DEFLATED && offer.is_some(), "{first:x}");
    let payload = match first {
        DEFLATED => inflate(&payload, 15),
        _ => payload,
    };
    (String::from_utf8(payload).unwrap(), first == DEFLATED)
}
