use testing::{HANDSHAKE, Peer, Program, Raw, http};

use crate::start;

const PAGE: &str = include_str!("../../../../web/hello.html");

/// The status and the body of the answer to a request with these lines.
async fn ask(server: &Program, lines: &[&str]) -> (u16, String, String) {
    let request = format!("{}\r\nHost: localhost\r\n\r\n", lines.join("\r\n"));
    let answer = http(server.address, &request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

fn is_a_sentence(body: &str) -> bool {
    body.trim_end().ends_with(['.', '?']) && body.ends_with('\n') && body.lines().count() == 1
}

#[tokio::test]
async fn the_page_is_at_the_root() {
    let server = start(&[]).await;
    let (status, head, body) = ask(&server, &["GET / HTTP/1.1"]).await;
    assert_eq!((status, body.as_str()), (200, PAGE));
    assert!(head.contains("\r\ncontent-type: text/html; charset=utf-8"), "{head}");
    assert!(head.contains("\r\ncontent-security-policy: frame-ancestors 'none'"), "{head}");
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let server = start(&[]).await;
    let (status, head, body) = ask(&server, &["HEAD / HTTP/1.1"]).await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains(&format!("\r\ncontent-length: {}", PAGE.len())), "{head}");
}

#[tokio::test]
async fn the_health_check_says_ok() {
    let server = start(&[]).await;
    let (status, _, body) = ask(&server, &["GET /healthz HTTP/1.1"]).await;
    assert_eq!((status, body.as_str()), (200, "ok\n"));
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    let server = start(&[]).await;
    let (status, _, body) = ask(&server, &["GET /nothing HTTP/1.1"]).await;
    assert!(status == 404 && is_a_sentence(&body), "{status} {body}");
}

#[tokio::test]
async fn other_methods_than_get_and_head_get_405() {
    let server = start(&[]).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let request =
            format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123456789");
        let answer = http(server.address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nallow: get, head"), "{answer}");
    }
}

#[tokio::test]
async fn any_path_with_a_correct_upgrade_is_a_websocket() {
    let server = start(&[]).await;
    for path in ["", "/", "/chat?room=1", "/healthz"] {
        let mut peer = Peer::connect(&format!("{}{path}", server.url())).await;
        peer.send("Ada").await;
        assert_eq!(peer.text().await, "Hello Ada!");
    }
}

#[tokio::test]
async fn an_upgrade_to_anything_else_is_ignored() {
    let server = start(&[]).await;
    let h2c = ["GET / HTTP/1.1", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"];
    let (status, _, body) = ask(&server, &h2c).await;
    assert_eq!((status, body.as_str()), (200, PAGE));
}

#[tokio::test]
async fn an_upgrade_of_a_wrong_version_gets_426() {
    let server = start(&[]).await;
    for version in ["Sec-WebSocket-Version: 8", "Sec-WebSocket-Version: 0x0d", "X: none"] {
        let request = HANDSHAKE.replace("Sec-WebSocket-Version: 13", version);
        let answer = http(server.address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.contains("\r\nupgrade: websocket"), "{head}");
        assert!(head.contains("\r\nsec-websocket-version: 13"), "{head}");
        assert!(is_a_sentence(body), "{body}");
    }
}

#[tokio::test]
async fn an_invalid_upgrade_gets_400() {
    let server = start(&[]).await;
    let key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    for (good, bad) in [
        (key, "X: no key"),
        (key, "Sec-WebSocket-Key: "),
        (key, "Sec-WebSocket-Key: short"),
        (key, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAB=="),
        (key, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAA!=="),
        (key, "Sec-WebSocket-Key: AA==AAAAAAAAAAAAAAAAAAAA"),
        (key, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Key: x"),
        (key, &format!("{key}\r\nSec-WebSocket-Extensions: a;b=")),
        ("Connection: Upgrade", "Connection: close"),
        ("HTTP/1.1", "HTTP/1.0"),
    ] {
        let answer = http(server.address, &HANDSHAKE.replace(good, bad)).await;
        assert!(answer.contains(" 400 Bad Request\r\n"), "{bad}: {answer}");
        assert!(is_a_sentence(answer.split_once("\r\n\r\n").unwrap().1), "{answer}");
    }
}

#[tokio::test]
async fn too_large_or_too_many_headers_get_431() {
    let server = start(&[]).await;
    let large = format!("X: {}", "a".repeat(64 << 10));
    let many = "X: a\r\n".repeat(200);
    for headers in [large.as_str(), many.trim_end()] {
        let (status, _, body) = ask(&server, &["GET / HTTP/1.1", headers]).await;
        assert!(status == 431 && is_a_sentence(&body), "{status} {body}");
    }
}

#[tokio::test]
async fn invalid_http_is_answered_or_logged() {
    let server = start(&[]).await;
    let answer = http(server.address, "junk\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = http(server.address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
    let mut tls = Raw::connect(server.address).await;
    tls.write([22, 3, 1, 0, 5, 1, 0, 0, 1, 0]).await;
    assert_eq!(tls.rest().await, b"");
    server.logged("a TLS client on a plain port").await;
}

#[tokio::test]
async fn bytes_after_the_request_are_the_first_frame() {
    let server = start(&[]).await;
    let mut raw = Raw::connect(server.address).await;
    raw.write([HANDSHAKE.as_bytes(), &testing::frame(0x81, "Ada")].concat()).await;
    raw.head().await;
    assert_eq!(raw.next_frame().await, Some((0x81, b"Hello Ada!".to_vec())));
}

#[tokio::test]
async fn an_incomplete_request_times_out() {
    let server = start(&["--open-timeout", "0.2"]).await;
    for half in ["", "G", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        assert_eq!(http(server.address, half).await, "");
    }
}

#[tokio::test]
async fn a_request_without_exactly_one_host_is_400() {
    let server = start(&[]).await;
    let page = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for request in [page, HANDSHAKE, &page.replace("GET", "POST"), &page.replace("GET", "HEAD")] {
        for bad in [
            "X: none\r\n",
            "Host: localhost\r\nHost: localhost\r\n",
            "Host: localhost\r\nhost: example.com\r\n",
            "Host: \r\n",
            "Host: a b\r\n",
            "Host: user@localhost\r\n",
            "Host: localhost/path\r\n",
        ] {
            let request = request.replace("Host: localhost\r\n", bad);
            let answer = http(server.address, &request).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{request}: {answer}");
        }
    }
    // HTTP/1.0 has no Host header, and some health checks use it.
    let answer = http(server.address, "GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains(" 200 OK\r\n") && answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test]
async fn an_upgrade_with_a_body_gets_400() {
    let server = start(&[]).await;
    let frame = testing::frame(0x81, "Ada");
    for body in [
        format!("Content-Length: {}", frame.len()),
        "Transfer-Encoding: chunked".to_owned(),
        "Transfer-Encoding: gzip, chunked".to_owned(),
    ] {
        let head = HANDSHAKE.replace("Host:", &format!("{body}\r\nHost:"));
        for pause in [0, 100] {
            let mut raw = Raw::connect(server.address).await;
            raw.write(&head).await;
            tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
            raw.write(&frame).await;
            let answer = String::from_utf8(raw.rest().await).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400 "), "{body}: {answer}");
            assert!(!answer.contains("Hello"), "{body}: {answer}");
            assert!(is_a_sentence(answer.split_once("\r\n\r\n").unwrap().1), "{answer}");
        }
    }
    // None is announced by this.
    let empty = HANDSHAKE.replace("Host:", "Content-Length: 0\r\nHost:");
    let mut raw = Raw::connect(server.address).await;
    raw.write([empty.as_bytes(), &frame].concat()).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(raw.next_frame().await, Some((0x81, b"Hello Ada!".to_vec())));
}

#[tokio::test]
async fn a_long_target_gets_414_and_headers_431() {
    let server = start(&[]).await;
    let long = "a".repeat(20_000);
    for (request, status) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), "414"),
        (format!("GET /?{long}{long}{long}{long}"), "414"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"), "431"),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\nX: {long}", &long[..4000]), "431"),
    ] {
        let answer = http(server.address, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{}: {answer}", &request[..9]);
        assert!(is_a_sentence(answer.split_once("\r\n\r\n").unwrap().1), "{answer}");
    }
    let fits = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", &long[..7000]);
    assert!(http(server.address, &fits).await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_target_that_is_no_path_is_400() {
    let server = start(&[]).await;
    for request in [HANDSHAKE, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        for bad in ["*", "localhost:80", "localhost"] {
            let answer =
                http(server.address, &request.replace("GET /", &format!("GET {bad}"))).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{bad}: {answer}");
            assert!(is_a_sentence(answer.split_once("\r\n\r\n").unwrap().1), "{answer}");
        }
    }
    let mut raw = Raw::connect(server.address).await;
    raw.write(HANDSHAKE.replace("GET /", "GET http://localhost/chat")).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
}

/// How a proxy announces its client by the PROXY protocol, version 1 and version 2.
const PROXY_HEADERS: [&[u8]; 3] = [
    b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 80\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\x13\x88\0\x50",
];

#[tokio::test]
async fn the_proxy_protocol_is_400_and_logged() {
    let server = start(&[]).await;
    for header in PROXY_HEADERS {
        let mut raw = Raw::connect(server.address).await;
        raw.write([header, HANDSHAKE.as_bytes()].concat()).await;
        let answer = String::from_utf8(raw.rest().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("the PROXY protocol; turn it off in the proxy, and"), "{answer}");
    }
    server
        .logged("bad HTTP request: 400 Bad Request: This server does not support the PROXY")
        .await;
    let answer = http(server.address, "PROXY / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}
