use std::time::{Duration, Instant};

use testing::{HANDSHAKE, Peer, Program, Raw, frame, http, limit};

use crate::start;

/// A client with a valid handshake is accepted at once, even next to 200 bad ones.
async fn greets(server: &Program) {
    let began = Instant::now();
    let mut peer = Peer::connect(&server.url()).await;
    peer.send("Ada").await;
    assert_eq!(peer.text().await, "Hello Ada!");
    assert!(began.elapsed() < limit(Duration::from_secs(5)), "{:?}", began.elapsed());
}

/// Opens 200 connections and runs `visit` on each at once, with a healthy client in between.
#[cfg(target_os = "linux")]
async fn two_hundred<F>(server: &Program, visit: impl Fn(Raw) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut visits = tokio::task::JoinSet::new();
    for _ in 0..200 {
        visits.spawn(visit(Raw::connect(server.address).await));
    }
    greets(server).await;
    visits.join_all().await;
}

/// The largest memory for each of the 200, in KiB.
#[cfg(target_os = "linux")]
async fn cost<F>(server: &Program, visit: impl Fn(Raw) -> F) -> u64
where
    F: Future<Output = ()> + Send + 'static,
{
    // The first ones load the code that all later ones share.
    for _ in 0..20 {
        greets(server).await;
        http(server.address, "junk\r\n\r\n").await;
    }
    let before = testing::memory::forget_peak(server.pid());
    two_hundred(server, visit).await;
    (testing::memory::peak_kib(server.pid()) - before) / 200
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn silent_and_trickling_clients_time_out_cheaply() {
    let server = start(&["--open-timeout", "1"]).await;
    let silent = |mut raw: Raw| async move { assert_eq!(raw.rest().await, b"") };
    let cost_of_silence = cost(&server, silent).await;

    // Send a byte at a time, but never the last one. A byte must not extend the time limit.
    let trickle = |mut raw: Raw| async move {
        let began = Instant::now();
        let held = async {
            for byte in HANDSHAKE.bytes() {
                if tokio::io::AsyncWriteExt::write_all(&mut raw.stream, &[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            raw.rest().await
        };
        assert_eq!(held.await, b"");
        assert!(began.elapsed() < limit(Duration::from_secs(6)), "{:?}", began.elapsed());
    };
    let cost_of_little = cost(&server, trickle).await;
    eprintln!("silent: {cost_of_silence} KiB, a byte at a time: {cost_of_little} KiB");
    assert!(cost_of_silence < 4 && cost_of_little < 16, "{cost_of_silence}, {cost_of_little} KiB");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn clients_with_huge_headers_get_431_cheaply() {
    let server = start(&[]).await;
    let pushy = |mut raw: Raw| async move {
        raw.write("GET / HTTP/1.1\r\n").await;
        let header = format!("X: {}\r\n", "a".repeat(1000));
        for _ in 0..4 {
            raw.write(header.repeat(1000)).await;
        }
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    };
    let cost = cost(&server, pushy).await;
    eprintln!("4 MiB of headers: {cost} KiB");
    assert!(cost < 48, "{cost} KiB");
}

#[tokio::test]
async fn what_is_no_request_is_answered_at_once() {
    let server = start(&[]).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let endless = [b"GET /".as_slice(), &[b'a'; 100_000]].concat();
    let blank = [b' '; 20_000];
    let cases: [(&str, &[u8]); 13] = [
        ("505", preface),
        ("400", b"\0\0\0\0"),
        ("400", b"\xff\xfe\xfd\xfc\r\n\r\n"),
        ("400", b"GET\r\n\r\n"),
        ("400", b"GET / HTTP/9.9\r\n\r\n"),
        ("400", b"GET / HTTQ/1.1\r\n\r\n"),
        ("400", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"),
        ("400", b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n"),
        ("400", b"GET / HTTP/1.1\r\nX: \x1b[2J\r\n\r\n"),
        ("400", b"SSH-2.0-OpenSSH_9.9\r\n"),
        ("400", b"\x81\x83\x12\x34\x56\x78\x53\x50\x37"),
        ("400", &blank),
        ("414", &endless),
    ];
    for (status, bytes) in cases {
        let began = Instant::now();
        let mut raw = Raw::connect(server.address).await;
        raw.write(bytes).await;
        let answer = String::from_utf8(raw.rest().await).unwrap();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer:?}");
        assert!(answer.ends_with(".\n"), "{shown:?}: {answer:?}");
        assert!(
            began.elapsed() < limit(Duration::from_secs(5)),
            "{shown:?}: {:?}",
            began.elapsed()
        );
    }
    greets(&server).await;
}

#[tokio::test]
async fn only_a_whole_request_survives_half_close() {
    let server = start(&[]).await;
    let began = Instant::now();
    for length in 0..=HANDSHAKE.len() {
        let mut raw = Raw::connect(server.address).await;
        raw.write(&HANDSHAKE[..length]).await;
        raw.half_close().await;
        let answer = String::from_utf8(raw.rest().await).unwrap();
        let whole = length == HANDSHAKE.len();
        assert_eq!(whole, answer.starts_with("HTTP/1.1 101 "), "{length}: {answer:?}");
        assert!(whole || answer.is_empty(), "{length}: {answer:?}");
    }
    for (request, status) in
        [("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200), ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", 405)]
    {
        let mut raw = Raw::connect(server.address).await;
        raw.write(request).await;
        raw.half_close().await;
        let answer = String::from_utf8(raw.rest().await).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?}");
        assert!(answer.trim_end().ends_with(['>', '.']), "{answer:?}");
    }
    assert!(began.elapsed() < limit(Duration::from_secs(8)), "open_timeout is 10 s");
    greets(&server).await;
    assert_eq!(server.log(), "");
}

#[tokio::test]
async fn a_frame_may_follow_the_request_at_once() {
    let server = start(&[]).await;
    for length in [0, 125, 126, 8000, 20_000] {
        let name = "a".repeat(length);
        let mut raw = Raw::connect(server.address).await;
        raw.write([HANDSHAKE.as_bytes(), &frame(0x81, &name)].concat()).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
        let (_, greeting) = raw.next_frame().await.unwrap();
        assert_eq!(greeting, format!("Hello {name}!").into_bytes(), "{length}");
        assert_eq!(raw.close_code().await, Some(1000));
    }
    let mut raw = Raw::connect(server.address).await;
    raw.write([HANDSHAKE.as_bytes(), &[0xff; 100]].concat()).await;
    raw.head().await;
    assert_eq!(raw.close_code().await, Some(1002));
}

#[tokio::test]
async fn one_request_is_answered_despite_bodies_or_pipelining() {
    let server = start(&[]).await;
    let healthz = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let announced = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n";
    let expecting =
        "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    let body = "a".repeat(1 << 20);
    for (request, status) in [
        (healthz.repeat(100), "200"),
        (chunked.to_owned(), "405"),
        (format!("{chunked}7\r\nabc"), "405"),
        (format!("{chunked}no size\r\n"), "405"),
        (announced.to_owned(), "405"),
        (format!("{announced}{body}"), "405"),
        (expecting.to_owned(), "405"),
        ("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n".to_owned(), "405"),
    ] {
        let answer = http(server.address, &request).await;
        let shown = &request[..request.len().min(60)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{shown:?}: {answer}");
    }
}

#[tokio::test]
async fn an_answered_idle_client_times_out_without_log() {
    let server = start(&["--max-connections", "1", "--open-timeout", "0.5"]).await;
    let mut stays = Raw::connect(server.address).await;
    stays.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(stays.head().await.starts_with("HTTP/1.1 200 "));
    let began = Instant::now();
    let next = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    while !http(server.address, next).await.starts_with("HTTP/1.1 200 ") {
        assert!(began.elapsed() < limit(Duration::from_secs(10)), "it is held still");
    }
    assert_eq!(server.log(), "");
    drop(stays);
}
