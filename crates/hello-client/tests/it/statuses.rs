//! An error message for each response that is not a WebSocket.

use testing::run;
use tokio::io::AsyncWriteExt;

use crate::{EXE, answer, failed, listen, text};

/// The error message of the client for a server that answers with this.
async fn said_of(response: &str) -> String {
    let (listener, address) = listen().await;
    let url = format!("ws://{address}");
    let arguments = [url.as_str()];
    let (output, _) = tokio::join!(run(EXE, &arguments, "Ada\n"), answer(&listener, response));
    failed(&output, &url);
    text(&output.stderr).replace(&url, "URL")
}

#[tokio::test]
async fn each_status_has_its_remedy() {
    for (head, says) in [
        ("401 x", "URL answered 401 Unauthorized instead of a WebSocket; log in with ws://"),
        ("403 x", "URL answered 403 Forbidden instead of a WebSocket; it rejects this client"),
        ("404 x", "URL answered 404 Not Found instead of a WebSocket; is it the right path?"),
        (
            "429 x\r\nRetry-After: 7",
            "URL answered 429 Too Many Requests instead of a WebSocket; try again in 7 s",
        ),
        ("503 x", "URL answered 503 Service Unavailable instead of a WebSocket; try again later"),
        ("200 OK", "URL answered 200 OK instead of a WebSocket; it is a web server"),
        ("302 x", "URL answered 302 Found instead of a WebSocket; the redirect has no"),
        (
            "500 x",
            "URL answered 500 Internal Server Error instead of a WebSocket; the server failed",
        ),
        ("599 x", "URL answered 599 an unknown status instead of a WebSocket; the server failed"),
        ("426 x", "URL answered 426 Upgrade Required instead of a WebSocket; is it the right port"),
    ] {
        let said = said_of(&format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n")).await;
        assert!(said.starts_with(says), "{said}");
    }
}

#[tokio::test]
async fn an_error_shows_plain_text_but_no_page() {
    let plain =
        "HTTP/1.1 503 x\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nfull\u{1b}\nup\n";
    let said = said_of(plain).await;
    assert!(said.ends_with("try again later (response: full\\u{1b})\n"), "{said}");

    let tls = "HTTP/1.1 400 x\r\nContent-Type: text/plain\r\n\r\nThis port speaks TLS.\n";
    let said = said_of(tls).await;
    assert_eq!(
        said,
        "URL answered 400 Bad Request instead of a WebSocket: This port speaks TLS.\n"
    );

    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<!DOCTYPE html><title>Hello";
    let said = said_of(page).await;
    assert!(!said.contains("DOCTYPE"), "{said}");

    let chunked =
        "HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nno, \r\n2\r\nno\r\n0\r\n\r\n";
    let said = said_of(chunked).await;
    assert!(said.ends_with("check its log (response: no, no)\n"), "{said}");

    // The client does not wait for more than the announced body.
    let both = "HTTP/1.1 403 x\r\nContent-Length: 2\r\n\r\nno such thing";
    let said = said_of(both).await;
    assert!(said.ends_with("(response: no)\n"), "{said}");

    let long = format!("HTTP/1.1 403 x\r\n\r\n{}", "x".repeat(5_000));
    assert!(said_of(&long).await.len() < 500);
}

#[tokio::test]
async fn a_body_may_arrive_after_the_head() {
    let (listener, address) = listen().await;
    let url = format!("ws://{address}");
    let arguments = [url.as_str()];
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        crate::head(&mut stream).await;
        stream.set_nodelay(true).unwrap();
        let chunked =
            "HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nno, no\r\n0\r\n\r\n";
        for byte in chunked.bytes() {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        // The client waits neither for more nor for the end of TCP.
        stream
    };
    let (output, _stream) = tokio::join!(run(EXE, &arguments, "Ada\n"), server);
    failed(&output, "(response: no, no)");
}

#[tokio::test]
async fn a_response_of_another_http_version_is_named() {
    for (answer, says) in [
        ("HTTP/1.0 200 OK\r\n\r\n", "but HTTP/1.0 as simple web servers do"),
        (
            "SSH-2.0-OpenSSH_9.2\r\n",
            "URL is not a WebSocket server: its answer is not HTTP; is it the right port?",
        ),
        ("", "URL is not a WebSocket server: it closed the connection; is it the right port?"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "URL does not speak WebSocket ("),
    ] {
        let said = said_of(answer).await;
        assert!(said.contains(says), "{said}");
    }
}
