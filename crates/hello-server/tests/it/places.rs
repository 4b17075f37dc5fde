use std::net::SocketAddr;

use testing::{HANDSHAKE, Peer, Program, Raw, http, soon};

use crate::{EXE, start};

const HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const READYZ: &str = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";

/// The status line of the answer.
async fn status(address: SocketAddr, request: &str) -> String {
    let mut raw = Raw::connect(address).await;
    raw.write(request).await;
    raw.head().await.lines().next().unwrap().to_owned()
}

/// The handshake as a proxy hands it on for these clients.
fn forwarded(hops: &str) -> String {
    HANDSHAKE.replace("Host:", &format!("X-Forwarded-For: {hops}\r\nHost:"))
}

async fn opens(address: SocketAddr, request: &str) -> bool {
    status(address, request).await.contains(" 101 ")
}

#[tokio::test]
async fn a_full_server_answers_503_until_one_leaves() {
    let server = start(&["--max-connections", "2"]).await;
    let first = Peer::connect(&server.url()).await;
    let mut second = Peer::connect(&server.url()).await;
    let answer = http(server.address, HANDSHAKE).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let reason = "Too many connections are open; try again later, or raise --max-connections.";
    assert!(answer.ends_with(&format!("\r\n\r\n{reason}\n")), "{answer}");
    server.logged(&format!("WebSocket request rejected: 503 Service Unavailable: {reason}")).await;
    second.send("still here").await;
    assert_eq!(second.text().await, "Hello still here!");

    first.close().await;
    let room = async { while !opens(server.address, HANDSHAKE).await {} };
    soon("room for one more", room).await;
}

#[tokio::test]
async fn a_full_server_is_alive_but_not_ready() {
    let server = start(&["--max-connections", "1"]).await;
    assert!(status(server.address, READYZ).await.contains(" 200 "));
    // The health check uses a connection slot until it has disconnected.
    let peer = loop {
        let mut raw = Raw::connect(server.address).await;
        raw.write(HANDSHAKE).await;
        if raw.head().await.starts_with("HTTP/1.1 101 ") {
            break raw;
        }
    };
    let answer = http(server.address, HEALTHZ).await;
    assert!(answer.contains(" 200 ") && answer.ends_with("ok\n"), "{answer}");
    let answer = http(server.address, READYZ).await;
    assert!(answer.contains(" 503 ") && answer.contains("Too many connections"), "{answer}");
    drop(peer);
    soon("readiness", async { while !status(server.address, READYZ).await.contains(" 200 ") {} })
        .await;
}

#[tokio::test]
async fn healthz_answers_while_the_server_is_full() {
    let server = start(&["--max-connections", "1", "--open-timeout", "600"]).await;
    let _peer = Peer::connect(&server.url()).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(Raw::connect(server.address).await);
    }
    assert!(http(server.address, HEALTHZ).await.contains(" 200 "));
    assert!(http(server.address, READYZ).await.contains(" 503 "));
    // The first clients were disconnected, but the last ones still get an answer.
    silent[0].write("G").await;
    assert_eq!(silent[0].rest().await, b"");
    let last = silent.last_mut().unwrap();
    last.write(HEALTHZ).await;
    assert!(last.head().await.contains(" 200 "));
}

#[tokio::test]
async fn the_per_address_limit_counts_idle_connections() {
    let server = Program::start(EXE, &["0.0.0.0:0", "--max-connections-per-address", "2"]).await;
    let address = SocketAddr::from(([127, 0, 0, 1], server.address.port()));
    let url = format!("ws://{address}");
    let first = Peer::connect(&url).await;
    let silent = Raw::connect(address).await;
    let refused = async { while opens(address, HANDSHAKE).await {} };
    soon("the refusal of a third", refused).await;
    let answer = http(address, HANDSHAKE).await;
    assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
    let reason = "Too many connections are open from your address; close some, or raise \
                  --max-connections-per-address.";
    assert!(answer.ends_with(&format!("\r\n\r\n{reason}\n")), "{answer}");
    server.logged(&format!("WebSocket request rejected: 429 Too Many Requests: {reason}")).await;
    // The server itself is not full.
    assert!(status(address, HEALTHZ).await.contains(" 200 "));
    assert!(status(address, READYZ).await.contains(" 200 "));
    #[cfg(target_os = "linux")]
    {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, HANDSHAKE.as_bytes()).await.unwrap();
        let mut answer = [0; 13];
        let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer);
        soon("an answer", read).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101 ");
    }
    first.close().await;
    soon("room", async { while !opens(address, HANDSHAKE).await {} }).await;
    drop(silent);
}

#[tokio::test]
async fn behind_a_proxy_the_limit_is_per_client() {
    let flags = ["--max-connections-per-address", "1", "--trusted-proxy", "127.0.0.1"];
    let server = Program::start(EXE, &[&["127.0.0.1:0"][..], &flags].concat()).await;
    let mut open = Vec::new();
    for client in ["192.0.2.1", "192.0.2.2", "1.1.1.1, 192.0.2.3"] {
        let mut raw = Raw::connect(server.address).await;
        raw.write(forwarded(client)).await;
        assert!(raw.head().await.contains(" 101 "), "{client}");
        open.push(raw);
    }
    // The text of the client is to the left of the address that the proxy added.
    for again in ["192.0.2.1", "9.9.9.9, 192.0.2.3", "192.0.2.3, 127.0.0.1"] {
        let status = status(server.address, &forwarded(again)).await;
        assert!(status.contains(" 429 "), "{again}: {status}");
    }
    drop(open.remove(0));
    let room = async { while !opens(server.address, &forwarded("192.0.2.1")).await {} };
    soon("room for one more", room).await;
}

#[tokio::test]
async fn only_a_trusted_proxy_names_the_logged_client() {
    let foreign =
        |hops: &str| forwarded(hops).replace("Host:", "Origin: http://a.example\r\nHost:");
    let fault = testing::frame(0xc1, "a");

    let server = start(&["--trusted-proxy", "127.0.0.1", "--trusted-proxy", "::1"]).await;
    http(server.address, &foreign("192.0.2.7")).await;
    server.logged("connection{peer=192.0.2.7:0}: WebSocket request rejected: 403").await;
    let mut raw = Raw::connect(server.address).await;
    raw.write([forwarded("192.0.2.8").as_bytes(), &fault].concat()).await;
    server.logged("connection{peer=192.0.2.8:0}: closed with 1002").await;

    let server = start(&["--trusted-proxy", "192.0.2.9"]).await;
    http(server.address, &foreign("192.0.2.9, 192.0.2.7")).await;
    server.logged("connection{peer=127.0.0.1:").await;
    assert!(!server.log().contains("192.0.2."), "{}", server.log());
}

#[tokio::test]
async fn a_trusted_proxy_is_an_address_or_a_network() {
    for wrong in ["proxy.example", "10.0.0.0/33", "10.0.0.0/"] {
        let output = testing::run(EXE, &["--trusted-proxy", wrong], "").await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("use an IP address or a network, for example 127"), "{stderr}");
    }
    let server = start(&["--trusted-proxy", "127.0.0.0/8", "--trusted-proxy", "::1"]).await;
    let mut raw = Raw::connect(server.address).await;
    raw.write(forwarded("192.0.2.8")).await;
    raw.frame(0xc1, "a").await;
    server.logged("connection{peer=192.0.2.8:0}: closed with 1002").await;
}
