use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::tls::{Trust, connector};
use futures_util::StreamExt;
use testing::{HANDSHAKE, Program, Raw, frame, http, limit, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tungstenite::Message;
use websockets::client::connect_tls;

/// Starts the server with a certificate of its own in a folder of the test's.
async fn start(test: &str, flags: &[&str]) -> (Program, PathBuf) {
    let pem = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test).join("own.pem");
    common::tls::make(&pem).unwrap();
    let args = [&["localhost:0", "--cert", pem.to_str().unwrap()], flags].concat();
    (Program::start(env!("CARGO_BIN_EXE_wss-server"), &args).await, pem)
}

/// Sends a request over TLS and returns the whole answer.
async fn https(server: &Program, pem: PathBuf, request: &str) -> String {
    let connector = connector(Trust::File(pem)).unwrap();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut stream = connector.connect("localhost", stream).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn a_name_is_greeted_over_tls() {
    let (mut server, pem) = start("greets", &[]).await;
    assert!(server.url().starts_with("wss://127.0.0.1:"));
    let url = format!("wss://localhost:{}", server.address.port());
    connect_tls(&url, connector(Trust::File(pem)).unwrap(), async |socket| {
        socket.send(Message::text("Ada")).await?;
        assert_eq!(socket.next().await.unwrap()?, Message::text("Hello Ada!"));
        assert!(socket.next().await.is_none());
        assert_eq!(socket.closed().flatten().map(|frame| u16::from(frame.code)), Some(1000));
        Ok(())
    })
    .await
    .unwrap();
    let port = server.address.port();
    assert_eq!(
        server.line_with("open").await,
        format!("open https://localhost:{port}/ in a browser")
    );
    assert_eq!(server.line().await.unwrap(), "< Ada");
    assert_eq!(server.line().await.unwrap(), "> Hello Ada!");
}

#[tokio::test]
async fn the_root_serves_the_page() {
    let (server, pem) = start("page", &[]).await;
    let answer = https(&server, pem, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with(include_str!("../../../../web/hello.html")));
}

#[tokio::test]
async fn plain_http_to_the_tls_port_is_rejected() {
    let (server, _) = start("plain", &[]).await;
    for request in ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", HANDSHAKE] {
        let answer = http(server.address, request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nThis port requires TLS; use https:// or wss://.\n"));
    }
    server.logged("plain HTTP on the TLS port").await;
    http(server.address, "PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n").await;
    server.logged("This server does not support the PROXY protocol; turn it off").await;
}

#[tokio::test]
async fn an_endless_tls_hello_times_out() {
    let (server, _) = start("half", &["--open-timeout", "0.3"]).await;
    // The header of a record of 512 bytes, and its first byte.
    let mut raw = Raw::connect(server.address).await;
    raw.write([22, 3, 1, 2, 0, 1]).await;
    assert_eq!(raw.rest().await, b"");
    server.logged("no complete handshake within open_timeout").await;
}

#[tokio::test]
async fn invalid_client_hellos_log_one_line_each() {
    let (server, pem) = start("junk", &["--open-timeout", "0.5"]).await;
    let url = format!("wss://localhost:{}", server.address.port());
    connect_tls(&url, connector(Trust::File(pem)).unwrap(), async |socket| {
        // The beginning is valid, but not the rest. An alert arrives, or the end.
        let record = [&[22, 3, 1, 0, 100][..], &[0xff; 100]].concat();
        for junk in [&[22; 600][..], &record] {
            let mut raw = Raw::connect(server.address).await;
            raw.write(junk).await;
            raw.rest().await;
        }
        // Cut off after each byte of a header, and a byte at a time.
        for length in 0..=record.len().min(6) {
            let mut raw = Raw::connect(server.address).await;
            raw.write(&record[..length]).await;
            raw.half_close().await;
            raw.rest().await;
        }
        let began = Instant::now();
        let mut slow = Raw::connect(server.address).await;
        while slow.stream.write_all(&[22]).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
            assert!(began.elapsed() < limit(Duration::from_secs(8)), "it is held still");
        }
        // The observer.
        socket.send(Message::text("Ada")).await?;
        assert_eq!(socket.next().await.unwrap()?, Message::text("Hello Ada!"));
        Ok(())
    })
    .await
    .unwrap();
    // All but the one that sent nothing.
    let lines = server.log_of(2 + 6 + 1).await.lines().count();
    assert_eq!(lines, 2 + 6 + 1, "{}", server.log());
    assert!(server.log().len() < lines * 300, "{}", server.log());
}

#[tokio::test]
async fn a_silent_client_after_tls_times_out() {
    let (server, pem) = start("silent", &["--open-timeout", "0.5"]).await;
    for request in ["", "GET / HTTP/1.1\r\n"] {
        assert_eq!(https(&server, pem.clone(), request).await, "");
    }
    server.logged("no complete handshake within open_timeout").await;
}

#[tokio::test]
async fn a_rejected_frame_gets_its_code_over_tls() {
    let (server, pem) = start("refused", &[]).await;
    for (frame, code) in [(&[0x81, 1, b'a'][..], 1002_u16), (&frame(0x81, [0xff]), 1007)] {
        let mut stream = open(&server, pem.clone()).await;
        stream.write_all(frame).await.unwrap();
        let mut rest = Vec::new();
        soon("the end", stream.read_to_end(&mut rest)).await.unwrap();
        assert_eq!((rest[0], &rest[2..4]), (0x88, &code.to_be_bytes()[..]));
    }
    // The address of the client, which is below TLS.
    server.logged("connection{peer=127.0.0.1:").await;
    server.logged(": closed with 1007").await;
    assert!(server.log().lines().all(|line| line.contains("peer=127.0.0.1:")), "{}", server.log());
}

#[cfg(unix)]
#[tokio::test]
async fn sigterm_closes_tls_with_1001_and_drops_handshakes() {
    let (mut server, pem) = start("shutdown", &[]).await;
    let mut half = Raw::connect(server.address).await;
    half.write([22, 3, 1, 2, 0, 1]).await;
    let url = format!("wss://localhost:{}", server.address.port());
    connect_tls(&url, connector(Trust::File(pem)).unwrap(), async |socket| {
        server.terminate();
        assert!(soon("the end", socket.next()).await.is_none());
        assert_eq!(socket.closed().flatten().map(|frame| u16::from(frame.code)), Some(1001));
        Ok(())
    })
    .await
    .unwrap();
    assert!(server.exit().await.success());
}

/// A WebSocket over TLS whose bytes the test writes and reads itself.
async fn open(server: &Program, pem: PathBuf) -> tokio_native_tls::TlsStream<TcpStream> {
    let connector = connector(Trust::File(pem)).unwrap();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut stream = connector.connect("localhost", stream).await.unwrap();
    stream.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the head", stream.read_u8()).await.unwrap());
    }
    stream
}

/// Returns an address that forwards to `server`, and the bytes that the server has sent.
async fn overhear(server: SocketAddr) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let said = tokio::spawn(async move {
        let (mut from_client, mut to_client) = listener.accept().await.unwrap().0.into_split();
        let (mut from_server, mut to_server) =
            TcpStream::connect(server).await.unwrap().into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
        let (mut said, mut chunk) = (Vec::new(), [0; 4096]);
        while let Ok(n @ 1..) = from_server.read(&mut chunk).await {
            said.extend(&chunk[..n]);
            _ = to_client.write_all(&chunk[..n]).await;
        }
        said
    });
    (address, said)
}

#[tokio::test]
async fn a_closing_server_sends_close_notify() {
    let (server, _) = start("close_notify", &["--close-timeout", "0.3"]).await;
    // The server's close frame is answered at once, or never.
    for answers in [true, false] {
        let (address, said) = overhear(server.address).await;
        // TLS 1.2 shows which records are alerts.
        let connector = native_tls::TlsConnector::builder()
            .max_protocol_version(Some(native_tls::Protocol::Tlsv12))
            .danger_accept_invalid_certs(true)
            .build()
            .unwrap();
        let connector = tokio_native_tls::TlsConnector::from(connector);
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = connector.connect("localhost", stream).await.unwrap();
        stream.write_all(&[HANDSHAKE.as_bytes(), &frame(0x81, "Ada")].concat()).await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(&[0x88, 2, 3, 0xe8]) {
            heard.push(soon("the greeting and a close frame", stream.read_u8()).await.unwrap());
        }
        if answers {
            stream.write_all(&frame(0x88, [3, 0xe8])).await.unwrap();
        }
        soon("the end", stream.read_to_end(&mut heard)).await.unwrap();
        drop(stream);
        let said = soon("the end of the server's bytes", said).await.unwrap();
        let (mut rest, mut last) = (&said[..], 0);
        while let [kind, _, _, high, low, ..] = rest {
            last = *kind;
            rest = &rest[5 + usize::from(u16::from_be_bytes([*high, *low]))..];
        }
        // An alert (RFC 5246, section 6.2.1).
        assert_eq!(last, 21, "answers: {answers}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn shutdown_over_tls_sends_1001_without_reset() {
    let (mut server, pem) = start("last_word", &[]).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(open(&server, pem.clone()).await);
    }
    server.terminate();
    for mut stream in streams {
        let mut head = [0; 4];
        soon("a close frame", stream.read_exact(&mut head)).await.unwrap();
        assert_eq!((head[0], head[2..].to_vec()), (0x88, 1001_u16.to_be_bytes().to_vec()));
        // Its close frame, its close_notify and its FIN, in one go.
        stream.write_all(&frame(0x88, [3, 0xe9])).await.unwrap();
        stream.shutdown().await.unwrap();
        stream.get_mut().get_mut().get_mut().shutdown().await.unwrap();
        // Only then does it read the reason.
        let mut rest = Vec::new();
        soon("the end", stream.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest.len(), usize::from(head[1] - 2), "{rest:?}");
    }
    assert!(server.exit().await.success());
}

#[tokio::test]
async fn old_tls_versions_are_rejected() {
    let (server, _) = start("versions", &[]).await;
    // These bytes are written by hand, because today's libraries do not send the first of these
    // hellos.
    for (version, understood) in [([3, 2], false), ([3, 3], true)] {
        let suites = [0xc0, 0x2f, 0xc0, 0x13, 0, 0x2f];
        // supported_groups, ec_point_formats, signature_algorithms
        let extensions = [
            &[0, 10, 0, 4, 0, 2, 0, 23][..],
            &[0, 11, 0, 2, 1, 0],
            &[0, 13, 0, 6, 0, 4, 4, 1, 8, 4],
        ];
        let extensions = extensions.concat();
        let mut hello = [&version[..], &[7; 32], &[0, 0, suites.len() as u8], &suites].concat();
        hello.extend([1, 0, 0, extensions.len() as u8]);
        hello.extend(extensions);
        let length = hello.len() as u8;
        let record = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&record).await.unwrap();
        let mut kind = [0];
        let read = soon("an answer to the hello", stream.read(&mut kind)).await;
        // 22 is a handshake record. Otherwise an alert (21) arrives, or the end.
        assert_eq!(matches!(read, Ok(1)) && kind == [22], understood, "{version:?}");
    }
}
