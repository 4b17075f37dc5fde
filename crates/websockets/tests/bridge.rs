//! The example `axum`: GET, POST and a WebSocket on one port.

use testing::{HANDSHAKE, Peer, Program, Raw, built, frame, http, soon};
use tokio::time::{Duration, sleep};
use tungstenite::http::Request as Http;
use websockets::{Bridge, Flags, Request, Response, Result, Server, Socket};

async fn axum(flags: &[&str]) -> Program {
    Program::start(&built("examples/axum"), &[&["localhost:0"], flags].concat()).await
}

async fn connect(server: &Program) -> Peer {
    Peer::connect(&format!("{}/live", server.url())).await
}

async fn head_of_response(server: &Program, request: &str) -> String {
    let mut raw = Raw::connect(server.address).await;
    raw.write(request).await;
    raw.head().await
}

fn request(method: &str, path: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
}

fn handshake(headers: &str) -> String {
    HANDSHAKE.replace("GET / ", "GET /live ").replace("Host:", &format!("{headers}Host:"))
}

#[tokio::test]
async fn get_post_and_a_websocket_share_one_port() {
    let server = axum(&[]).await;
    let mut peer = connect(&server).await;
    assert_eq!(peer.text().await, "0");
    assert!(http(server.address, &request("POST", "/plus")).await.ends_with("\r\n\r\n1"));
    assert_eq!(peer.text().await, "1");
    assert!(http(server.address, &request("GET", "/")).await.ends_with("\r\n\r\n1"));
    let plain = http(server.address, &request("GET", "/live")).await;
    assert!(plain.starts_with("HTTP/1.1 426 "), "{plain}");
}

#[tokio::test]
async fn the_bridge_checks_handshake_origin_and_limits() {
    let server = axum(&["--max-connections", "2", "--max-size", "100"]).await;
    for (wrong, status) in [
        (handshake("Origin: https://example.com\r\n"), 403),
        (handshake("").replace("Version: 13", "Version: 8"), 426),
        (handshake("Content-Length: 1\r\n"), 400),
    ] {
        let head = head_of_response(&server, &wrong).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    let local = handshake("Origin: http://localhost:8000\r\n");
    let mut first = Raw::connect(server.address).await;
    first.write(&local).await;
    assert!(first.head().await.starts_with("HTTP/1.1 101 "));
    let second = connect(&server).await;
    let head = head_of_response(&server, &handshake("")).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    // The limit counts open connections only. The first message is in the same packet as the
    // request, and it is too large.
    second.close().await;
    let packet = [handshake("").into_bytes(), frame(0x82, [7; 101])].concat();
    let mut raw = Raw::connect(server.address).await;
    let accepted = async {
        raw.write(&packet).await;
        while !raw.head().await.starts_with("HTTP/1.1 101 ") {
            sleep(Duration::from_millis(10)).await;
            raw = Raw::connect(server.address).await;
            raw.write(&packet).await;
        }
    };
    soon("a free connection", accepted).await;
    assert_eq!(raw.close_code().await, Some(1009));
}

/// The response to a valid handshake with this target and this Host.
async fn upgrade(bridge: &Bridge, target: &str, host: Option<&str>) -> Response {
    let mut head = Http::get(target).header("Connection", "Upgrade");
    for (name, value) in [
        ("Host", host),
        ("Upgrade", Some("websocket")),
        ("Sec-WebSocket-Version", Some("13")),
        ("Sec-WebSocket-Key", Some("AAAAAAAAAAAAAAAAAAAAAA==")),
    ] {
        head = value.into_iter().fold(head, |head, value| head.header(name, value));
    }
    bridge.upgrade(head.body(()).unwrap(), ([127, 0, 0, 1], 1).into()).await
}

#[tokio::test]
async fn a_bridge_rejects_a_wrong_target_or_host() {
    async fn handler(_: &mut Socket) -> Result<()> {
        Ok(())
    }
    let bridge = Server::new(Flags::default()).bridge(handler);
    for (target, host, status) in [
        ("/", Some("localhost"), 101),
        ("http://localhost/chat", Some("localhost"), 101),
        ("*", Some("localhost"), 400),
        ("localhost:80", Some("localhost"), 400),
        ("/", Some("a b"), 400),
        ("/", None, 400),
    ] {
        let response = upgrade(&bridge, target, host).await;
        assert_eq!(response.status(), status, "{target} {host:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_bridge_process_request_has_open_timeout() {
    async fn hangs(_: &mut Request) -> Option<Response> {
        std::future::pending().await
    }
    async fn handler(_: &mut Socket) -> Result<()> {
        Ok(())
    }
    let bridge = Server::new(Flags::default()).process_request(hangs).bridge(handler);
    let response = upgrade(&bridge, "/", Some("localhost")).await;
    assert_eq!(response.status(), 503);
    assert_eq!(bridge.connections(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn at_a_stop_the_bridge_sends_1001() {
    let mut server = axum(&[]).await;
    let mut peers = Vec::new();
    for _ in 0..10 {
        let mut peer = connect(&server).await;
        peer.text().await;
        peers.push(peer);
    }
    // A connection that has sent nothing delays nothing.
    let _idle = tokio::net::TcpStream::connect(server.address).await.unwrap();
    server.terminate();
    for peer in &mut peers {
        assert_eq!(peer.closed().await, (1001, "server is shutting down".into()));
    }
    drop(peers);
    assert!(server.exit().await.success());
}
