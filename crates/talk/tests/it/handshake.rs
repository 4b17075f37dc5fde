//! Headers, origin, subprotocols.

use testing::soon;
use tokio_tungstenite::accept_hdr_async;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};

use crate::{EXE, ended, listen};

/// Runs talk with these flags, and returns its output and its handshake request.
#[allow(clippy::result_large_err, reason = "the library's callback")]
async fn asked(flags: &[&str], chosen: Option<&'static str>) -> (std::process::Output, Request) {
    let (listener, url) = listen().await;
    let arguments = [&[url.as_str(), "--wait", "0"], flags].concat();
    let server = async {
        let (stream, _) = soon("the client", listener.accept()).await.unwrap();
        let mut asked = None;
        let answer = |request: &Request, mut response: Response| {
            asked = Some(request.clone());
            if let Some(name) = chosen {
                response.headers_mut().insert("Sec-WebSocket-Protocol", name.parse().unwrap());
            }
            Ok::<_, ErrorResponse>(response)
        };
        let socket = accept_hdr_async(stream, answer).await;
        if let Ok(mut socket) = socket {
            while let Some(Ok(_)) = futures_util::StreamExt::next(&mut socket).await {}
        }
        asked.unwrap()
    };
    tokio::join!(testing::run(EXE, &arguments, ""), server)
}

#[tokio::test]
async fn headers_origin_and_subprotocols_are_sent_as_given() {
    let (output, request) = asked(
        &[
            "--header",
            "Cookie: a=1; b=2",
            "--header",
            "X-One:1",
            "--header=X-One: 2",
            "--token",
            "a.b",
            "--origin",
            "https://example.com",
            "--subprotocol",
            "chat",
            "--subprotocol",
            "echo",
        ],
        Some("echo"),
    )
    .await;
    assert_eq!(ended(&output), (Some(0), "", "closed: 1000, OK\n"));
    let headers = request.headers();
    assert_eq!(headers["cookie"], "a=1; b=2");
    assert_eq!(headers.get_all("x-one").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(headers["authorization"], "Bearer a.b");
    assert_eq!(headers["origin"], "https://example.com");
    assert_eq!(headers["sec-websocket-protocol"], "chat, echo");
}

#[tokio::test]
async fn a_missing_subprotocol_is_a_one_line_error() {
    let (output, _) = asked(&["--subprotocol", "chat"], None).await;
    let (status, _, says) = ended(&output);
    assert!(says.contains("speaks no subprotocol that was asked for"), "{says}");
    assert_eq!(status, Some(1));
}

#[tokio::test]
async fn a_flag_that_makes_no_sense_is_refused() {
    for flags in [
        ["--header", "no colon"],
        ["--header", "sp ace: 1"],
        ["--header", "X: \u{1}"],
        ["--subprotocol", "a,b"],
        ["--ping-interval", "-1"],
        ["--wait", "soon"],
    ] {
        let arguments = ["ws://localhost:1", flags[0], flags[1]];
        let output = testing::run(EXE, &arguments, "").await;
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
    let output = testing::run(EXE, &["http://localhost:1", "--reconnect"], "").await;
    let (status, _, says) = ended(&output);
    assert!(says.contains("is not a WebSocket URL"), "{says}");
    assert_eq!(status, Some(1));
}

#[cfg(unix)]
#[tokio::test]
#[allow(clippy::result_large_err, reason = "the library's callback")]
async fn talk_connects_to_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("talk-{}.sock", std::process::id()));
    _ = std::fs::remove_file(&path);
    let url = format!("ws+unix:{}:/rooms/tea?since=7", path.display());
    let output = testing::run(EXE, &[&url], "").await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with(&format!("cannot connect to {url}: No such file")), "{stderr}");

    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let server = async {
        let (stream, _) = soon("the client", listener.accept()).await.unwrap();
        let check = |request: &Request, response: Response| {
            assert_eq!(request.uri(), "/rooms/tea?since=7");
            assert_eq!(request.headers()["host"], "localhost");
            Ok::<_, ErrorResponse>(response)
        };
        let mut socket = accept_hdr_async(stream, check).await.unwrap();
        futures_util::SinkExt::send(&mut socket, "hi".into()).await.unwrap();
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = futures_util::StreamExt::next(&mut socket).await {}
    };
    let arguments = [url.as_str()];
    let (output, ()) = tokio::join!(testing::run(EXE, &arguments, ""), server);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"< hi\n"[..]));
    std::fs::remove_file(&path).unwrap();
}
