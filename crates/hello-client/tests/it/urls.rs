//! Valid URLs, and which server receives their password.

use testing::run;

use crate::{EXE, answer, failed, listen, text};

#[tokio::test]
async fn an_invalid_port_is_rejected() {
    for url in ["ws://localhost:99999", "ws://localhost:65536/", "ws://localhost:8o"] {
        failed(&run(EXE, &[url], "Ada\n").await, "is not a number up to 65535");
    }
}

#[tokio::test]
async fn the_scheme_may_be_in_capitals() {
    let (listener, address) = listen().await;
    let url = format!("WS://{address}");
    let arguments = [url.as_str()];
    let (output, request) =
        tokio::join!(run(EXE, &arguments, "Ada\n"), answer(&listener, "HTTP/1.1 404 x\r\n\r\n"));
    failed(&output, &format!("ws://{address} answered 404 Not Found"));
    assert!(request.starts_with("GET / HTTP/1.1\r\n"), "{request}");
    failed(&run(EXE, &["WSS://localhost:8765"], "Ada\n").await, "use wss-client");
}

#[tokio::test]
async fn a_fragment_is_refused() {
    let output = run(EXE, &["ws://localhost:8765/#top"], "Ada\n").await;
    failed(&output, "ws://localhost:8765/#top has a fragment");
}

#[tokio::test]
async fn credentials_are_sent_as_basic_but_never_printed() {
    let (listener, address) = listen().await;
    let url = format!("ws://ada:s%40cret@{address}/a?b");
    let arguments = [url.as_str()];
    let (output, request) =
        tokio::join!(run(EXE, &arguments, "Ada\n"), answer(&listener, "HTTP/1.1 401 x\r\n\r\n"));
    // base64 of "ada:s@cret"
    assert!(request.contains("authorization: Basic YWRhOnNAY3JldA==\r\n"), "{request}");
    assert!(request.starts_with("GET /a?b HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("Host: {address}\r\n")), "{request}");
    failed(&output, &format!("ws://{address}/a?b answered 401 Unauthorized"));

    drop(listener);
    for url in [url.as_str(), "ws://ada:s%40cret@local host", "http://ada:s%40cret@localhost"] {
        let output = run(EXE, &[url], "Ada\n").await;
        assert_eq!(output.status.code(), Some(1));
        assert!(!text(&output.stderr).contains("cret"), "{}", text(&output.stderr));
    }
}
