//! The checks of talk for the response to its handshake (RFC 6455, section 4.1).

use std::process::Output;
use std::time::Duration;

use testing::{run, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tungstenite::handshake::derive_accept_key;

use crate::{EXE, ended, listen};

/// A message, and a close frame.
const FRAMES: &[u8] = b"\x81\x06Hello!\x88\x02\x03\xe8";

/// A response that every client accepts.
const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n";

/// Runs talk against a server that answers with `behave`, which gets the right accept key.
async fn answered(flags: &[&str], behave: impl AsyncFnOnce(&mut TcpStream, String)) -> Output {
    let (listener, url) = listen().await;
    let arguments = [&[url.as_str(), "--wait", "20"], flags].concat();
    let server = async {
        let (mut stream, _) = soon("the client", listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(soon("a request", stream.read_u8()).await.unwrap().into());
        }
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        behave(&mut stream, derive_accept_key(key.as_bytes())).await;
        // Until the client has closed.
        _ = soon("the end", stream.read_to_end(&mut Vec::new())).await;
    };
    tokio::join!(run(EXE, &arguments, ""), server).0
}

/// The client opens the WebSocket, and loses no frame.
fn greeted(output: &Output, case: &str) {
    assert_eq!(
        ended(output),
        (Some(0), "< Hello!\n", "closed by the server: 1000, OK\n"),
        "{case}"
    );
}

/// Checks for exit status 1, and one error line that contains `says`.
fn failed(output: &Output, says: &str) {
    let (status, _, said) = ended(output);
    assert!(said.contains(says) && said.lines().count() == 1, "{said}");
    assert_eq!(status, Some(1));
}

#[tokio::test]
async fn a_response_that_the_rfc_allows_is_accepted() {
    for response in [
        GOOD.to_owned(),
        GOOD.replace("\r\n", "\n"),
        GOOD.replace("Connection: Upgrade", "connection: keep-alive, upgrade"),
        GOOD.replace("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
        GOOD.replace("Upgrade: websocket", "UPGRADE:   WebSocket  "),
        GOOD.replace("Switching Protocols", ""),
        GOOD.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions:\r\n\r\n"),
        GOOD.replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "x".repeat(20_000))),
        ["HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", GOOD].concat(),
    ] {
        // The frames are in the same packet as the head.
        let output = answered(&[], async |stream, accept| {
            let response = response.replace("ACCEPT", &accept).into_bytes();
            stream.write_all(&[&response, FRAMES].concat()).await.unwrap();
        })
        .await;
        greeted(&output, &response);
    }
}

#[tokio::test]
async fn a_response_may_arrive_byte_by_byte() {
    let output = answered(&[], async |stream, accept| {
        let response = GOOD.replace("ACCEPT", &accept).into_bytes();
        for byte in [&response, FRAMES].concat() {
            stream.write_all(&[byte]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    greeted(&output, "byte by byte");
}

#[tokio::test]
async fn a_response_that_the_rfc_forbids_is_rejected() {
    let with = |header: &str| GOOD.replace("\r\n\r\n", &format!("\r\n{header}\r\n\r\n"));
    for (response, says) in [
        (GOOD.replace("Upgrade: websocket\r\n", ""), "(its Upgrade is not websocket)"),
        (GOOD.replace("Upgrade: websocket", "Upgrade: h2c"), "(its Upgrade is not websocket)"),
        (GOOD.replace("Connection: Upgrade\r\n", ""), "(its Connection is not Upgrade)"),
        (
            GOOD.replace("Connection: Upgrade", "Connection: close"),
            "(its Connection is not Upgrade)",
        ),
        (GOOD.replace("ACCEPT", "ACCEPT="), "(its Sec-WebSocket-Accept is wrong)"),
        (
            GOOD.replace("Sec-WebSocket-Accept: ACCEPT\r\n", ""),
            "(its Sec-WebSocket-Accept is wrong)",
        ),
        (with("Sec-WebSocket-Accept: ACCEPT"), "(its Sec-WebSocket-Accept is wrong)"),
        (with("Sec-WebSocket-Extensions: a"), "uses an extension that"),
        (with("Sec-WebSocket-Extensions: permessage-deflate; a"), "uses an extension that"),
        (with("Sec-WebSocket-Extensions: permessage-deflate, a"), "uses an extension that"),
        (with("Sec-WebSocket-Extensions: permessage-deflate;"), "uses an extension that"),
        (with("Sec-WebSocket-Protocol: chat"), "a subprotocol that nobody asked for"),
        (GOOD.replace("HTTP/1.1", "HTTP/1.0"), "but HTTP/1.0 as simple web servers do"),
        (with(&"X: 1\r\n".repeat(200)), "its answer is not HTTP"),
        (with(&format!("X: {}", "x".repeat(70_000))), "its answer is not HTTP"),
    ] {
        let output = answered(&[], async |stream, accept| {
            let response = response.replace("ACCEPT", &accept);
            // Ignore an error, because the client may close the connection before the end.
            _ = stream.write_all(&[response.as_bytes(), FRAMES].concat()).await;
        })
        .await;
        failed(&output, says);
    }
}

#[tokio::test]
async fn an_extension_must_be_offered() {
    let deflate = "Accept: ACCEPT\r\nSec-WebSocket-Extensions: permessage-deflate";
    let response = GOOD.replace("Accept: ACCEPT", deflate);
    // Two compressed messages, of which the second refers to the first (RFC 7692, section 7.2.3.2).
    let hello = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00";
    for (flags, frames, expected) in [
        (&[][..], &hello[..], "< Hello\n< Hello\n"),
        (&["--compression", "none"], b"", ""),
        (&[], b"\xc1\x01\x07", ""),
    ] {
        let output = answered(flags, async |stream, accept| {
            let response = response.replace("ACCEPT", &accept).into_bytes();
            // Ignore an error, because the client may close the connection before the end.
            _ = stream.write_all(&[&response, frames, b"\x88\x02\x03\xe8"].concat()).await;
        })
        .await;
        match (expected, frames) {
            ("", b"") => failed(&output, "uses an extension that this client did not offer"),
            ("", _) => failed(&output, "sent compressed data that does not inflate"),
            _ => assert_eq!(ended(&output).1, expected),
        }
    }
}

#[tokio::test]
async fn a_subprotocol_must_be_a_requested_one() {
    let flags = ["--subprotocol", "chat", "--subprotocol", "echo"];
    for (header, says) in [
        ("Sec-WebSocket-Protocol: echo", None),
        ("Sec-WebSocket-Protocol: Echo", Some("a subprotocol that nobody asked for")),
        ("Sec-WebSocket-Protocol: chat, echo", Some("a subprotocol that nobody asked for")),
        (
            "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: echo",
            Some("a subprotocol that nobody asked for"),
        ),
    ] {
        let output = answered(&flags, async |stream, accept| {
            let response = GOOD.replace("ACCEPT\r\n", &format!("{accept}\r\n{header}\r\n"));
            stream.write_all(&[response.as_bytes(), FRAMES].concat()).await.unwrap();
        })
        .await;
        match says {
            None => greeted(&output, header),
            Some(says) => failed(&output, says),
        }
    }
}
