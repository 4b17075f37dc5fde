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
async fn a_method_other_than_get_and_head_is_405_even_with_a_body() {
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
async fn an_upgrade_of_a_wrong_version_is_426_and_names_the_right_one() {
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
async fn an_upgrade_with_a_bad_key_without_connection_or_over_http_1_0_is_400() {
    let server = start(&[]).await;
    let key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    for (good, bad) in [
        (key, "X: no key"),
        (key, "Sec-WebSocket-Key: "),
        (key, "Sec-WebSocket-Key: short"),
        (key, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAB=="),
        (key, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAA!=="),
        (key, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Key: x"),
        ("Connection: Upgrade", "Connection: close"),
        ("HTTP/1.1", "HTTP/1.0"),
    ] {
        let answer = http(server.address, &HANDSHAKE.replace(good, bad)).await;
        assert!(answer.contains(" 400 Bad Request\r\n"), "{bad}: {answer}");
        assert!(is_a_sentence(answer.split_once("\r\n\r\n").unwrap().1), "{answer}");
    }
}

#[tokio::test]
async fn headers_that_are_too_large_or_too_many_are_431() {
    let server = start(&[]).await;
    let large = format!("X: {}", "a".repeat(64 << 10));
    let many = "X: a\r\n".repeat(200);
    for headers in [large.as_str(), many.trim_end()] {
        let (status, _, body) = ask(&server, &["GET / HTTP/1.1", headers]).await;
        assert!(status == 431 && is_a_sentence(&body), "{status} {body}");
    }
}

#[tokio::test]
async fn what_is_no_http_at_all_is_answered_or_logged() {
    let server = start(&[]).await;
    let answer = http(server.address, "junk\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = http(server.address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
    let mut tls = Raw::connect(server.address).await;
    tls.write([22, 3, 1, 0, 5, 1, 0, 0, 1, 0]).await;
    assert_eq!(tls.rest().await, b"");
    server.logged("a TLS hello on a plain port").await;
}

#[tokio::test]
async fn what_comes_right_behind_the_request_is_the_first_frame() {
    let server = start(&[]).await;
    let mut raw = Raw::connect(server.address).await;
    raw.write([HANDSHAKE.as_bytes(), &testing::frame(0x81, "Ada")].concat()).await;
    raw.head().await;
    assert_eq!(raw.next_frame().await, Some((0x81, b"Hello Ada!".to_vec())));
}

#[tokio::test]
async fn no_request_and_half_a_request_are_closed_within_open_timeout() {
    let server = start(&["--open-timeout", "0.2"]).await;
    for half in ["", "G", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        assert_eq!(http(server.address, half).await, "");
    }
}

#[tokio::test]
async fn over_max_connections_the_answer_is_503_until_there_is_room() {
    let server = start(&["--max-connections", "2"]).await;
    let first = Peer::connect(&server.url()).await;
    let mut second = Peer::connect(&server.url()).await;
    let answer = http(server.address, HANDSHAKE).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(is_a_sentence(answer.split_once("\r\n\r\n").unwrap().1), "{answer}");
    second.send("still here").await;
    assert_eq!(second.text().await, "Hello still here!");

    first.close().await;
    let room = async { while !opens(server.address).await {} };
    testing::soon("room for one more", room).await;
}

async fn opens(address: std::net::SocketAddr) -> bool {
    let mut raw = Raw::connect(address).await;
    raw.write(HANDSHAKE).await;
    raw.head().await.starts_with("HTTP/1.1 101 ")
}
