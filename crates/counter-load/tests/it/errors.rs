use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tungstenite::handshake::derive_accept_key;

use crate::server::{self, Behavior};
use crate::{EXE, load, stderr, stdout};

/// Checks for one line on stderr, nothing on stdout and status 1. Returns the line.
async fn fails(args: &[&str]) -> String {
    let output = testing::run(EXE, args, "").await;
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_eq!(stdout(&output), "");
    assert_eq!(message.lines().count(), 1, "{message}");
    message
}

#[tokio::test]
async fn what_is_no_url_is_refused() {
    for url in [
        "localhost:6789",
        "http://localhost:6789",
        "ws://",
        "ws://localhost:x",
        "ws://localhost:99999",
        "ws://localhost:6789/#fragment",
        "ws:// a",
    ] {
        let message = fails(&[url]).await;
        assert!(message.contains("is not a counter server's URL; give one like"), "{message}");
    }
    assert!(fails(&["wss://localhost"]).await.contains("does not encrypt; give it the ws:// URL"));
    assert!(fails(&["WSS://localhost"]).await.contains("does not encrypt; give it the ws:// URL"));
}

#[tokio::test]
async fn a_scheme_in_capitals_is_the_same_scheme() {
    let server = server::start(Behavior::Good).await;
    let output = load(&server.url.replace("ws://", "WS://"), &[]).await;
    assert!(output.status.success(), "{}", stderr(&output));
}

#[tokio::test]
async fn a_login_in_the_url_is_rejected_unprinted() {
    for url in ["ws://ada:secret@localhost:6789", "ws://secret@localhost:6789"] {
        let message = fails(&[url]).await;
        assert!(message.contains("sends no login; give it the URL without"), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
}

#[tokio::test]
async fn a_refused_connection_hints_to_start_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    drop(listener);
    let message = fails(&[&url]).await;
    assert_eq!(
        message,
        format!("cannot connect to {url}: connection refused; start the server first\n")
    );
}

#[tokio::test]
async fn a_websocket_server_of_another_protocol_is_recognized() {
    let server = server::start(Behavior::SendsOtherEvents).await;
    let message = fails(&[&server.url, "--clients=3"]).await;
    assert!(message.contains("is not a counter server: it sent \"{"), "{message}");
    assert!(message.contains("first messages are users, then state; is it the"), "{message}");
}

#[tokio::test]
async fn another_response_is_shown_in_the_error() {
    for (answer, expected) in [
        (
            "HTTP/1.1 503 Service Unavailable\r\n\r\ntoo many\nno",
            "answered 503 Service Unavailable instead of a WebSocket: too many\n",
        ),
        (
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "answered 404 Not Found instead of a WebSocket; is it the right URL?\n",
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\n<!DOCTYPE html>\n",
            "answered 200 OK instead of a WebSocket; is it the right URL?\n",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n3\r\nno!\r\n",
            "answered 403 Forbidden instead of a WebSocket: no!\n",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "Sec-WebSocket-Accept is wrong; is it the right port?\n",
        ),
        ("220 mail.example ESMTP\r\n", "its answer is not HTTP/1.1; is it the right port?\n"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Wait until the client has disconnected.
            _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        });
        let message = fails(&[&url, "--clients=1"]).await;
        assert!(message.ends_with(expected), "{message}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_response_that_the_rfc_forbids_is_rejected() {
    for (headers, expected) in [
        ("Connection: Upgrade\r\n", "its Upgrade or Connection is wrong; is it the right port?\n"),
        ("Upgrade: websocket\r\n", "its Upgrade or Connection is wrong; is it the right port?\n"),
        (
            "Connection: upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Extensions: x\r\n",
            "it uses an extension or a subprotocol that was not requested; is it the right port?\n",
        ),
        (
            "Connection: a, upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: x\r\n",
            "it uses an extension or a subprotocol that was not requested; is it the right port?\n",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap().into());
            }
            let mut lines = head.lines();
            let key = lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let accept = derive_accept_key(key.as_bytes());
            let answer =
                format!("HTTP/1.1 101 x\r\nSec-WebSocket-Accept: {accept}\r\n{headers}\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Wait until the client has disconnected.
            _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        });
        let message = fails(&[&url, "--clients=1"]).await;
        assert!(message.ends_with(expected), "{message}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_dropped_connection_ends_with_a_report() {
    let server = server::start(Behavior::Disconnects).await;
    let output = load(&server.url, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    // The connection may also be reset, because the server has not read all clicks.
    let message = stderr(&output);
    let starts = ["the server closed a connection without", "a connection to the server failed: "];
    assert!(starts.iter().any(|start| message.starts_with(start)), "{output:?}");
    assert!(message.ends_with("; check the server's log\n"), "{output:?}");
    assert!(stdout(&output).contains(&format!("problem      {message}")));
}

/// `head` ends after the first line, and this is not an error.
#[cfg(unix)]
#[tokio::test]
async fn only_a_full_stdout_is_an_error() {
    let server = server::start(Behavior::Good).await;
    for (stdout, expected) in [
        ("| head -n 1 >/dev/null", ""),
        (">/dev/full", "cannot write to stdout (No space left on device (os error 28)); "),
    ] {
        if stdout.contains("/dev/full") && !cfg!(target_os = "linux") {
            continue;
        }
        let script = format!("\"$0\" \"$1\" --idle --seconds=0.1 --clients=2 {stdout}");
        let output = testing::run("sh", &["-c", &script, EXE, &server.url], "").await;
        let said = stderr(&output);
        assert!(said.starts_with(expected) && expected.is_empty() == said.is_empty(), "{said}");
        assert_eq!(output.status.success(), expected.is_empty() || stdout.contains('|'));
    }
}

#[tokio::test]
async fn a_process_that_is_not_there_is_named() {
    let message = fails(&["--pid", "4294967295"]).await;
    assert!(message.contains("no process 4294967295 to measure; --pid needs Linux"), "{message}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_descriptor_limit_is_raised_if_allowed() {
    let server = server::start(Behavior::Good).await;
    let shell = |limit: &str, clients: &str| {
        let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
        let args =
            ["-c", &script, EXE, &server.url, "--idle", "--seconds=0.1", "--clients", clients];
        let args = args.map(str::to_owned);
        async move { testing::run("sh", &args.each_ref().map(String::as_str), "").await }
    };
    let output = shell("-Sn 40", "50").await;
    assert!(output.status.success(), "{}", stderr(&output));
    let output = shell("-n 60", "50").await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "50 clients need 82 file descriptors, and this system allows 60; \
         raise the hard limit (ulimit -Hn) or use fewer --clients\n"
    );
}
