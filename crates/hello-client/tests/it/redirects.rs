//! Which redirects are followed, and with what: as Python `websockets` does.

use futures_util::{SinkExt, StreamExt};
use testing::{run, soon};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tungstenite::Message;

use crate::{EXE, answer, failed, listen, text};

fn to(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}

/// Greets one client.
async fn greet(listener: &TcpListener) {
    let (stream, _) = soon("the client", listener.accept()).await.unwrap();
    let mut socket = accept_async(stream).await.unwrap();
    let name = soon("the name", socket.next()).await.unwrap().unwrap();
    assert_eq!(name, Message::text("Ada"));
    socket.send(Message::text("Hello!")).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
}

#[tokio::test]
async fn each_kind_is_followed() {
    for status in [300, 301, 302, 303, 307, 308] {
        let (listener, address) = listen().await;
        let url = format!("ws://{address}/a/b?c");
        let arguments = [url.as_str()];
        let server = async {
            answer(&listener, &to(status, "d")).await;
            let request = answer(&listener, &to(status, &format!("ws://{address}/e"))).await;
            assert!(request.starts_with("GET /a/d HTTP/1.1\r\n"), "{request}");
            greet(&listener).await;
        };
        let (output, ()) = tokio::join!(run(EXE, &arguments, "Ada\n"), server);
        assert!(output.status.success(), "{status}: {}", text(&output.stderr));
    }
}

#[tokio::test]
async fn more_than_ten_are_too_many() {
    let (listener, address) = listen().await;
    let url = format!("ws://{address}");
    let arguments = [url.as_str()];
    let server = async {
        for _ in 0..10 {
            answer(&listener, &to(302, "/again")).await;
        }
    };
    let (output, ()) = tokio::join!(run(EXE, &arguments, "Ada\n"), server);
    failed(&output, &format!("{url} redirects more than 10 times"));
}

#[tokio::test]
async fn a_redirect_target_that_does_not_answer_is_named() {
    let ((first, address), (_second, other)) = (listen().await, listen().await);
    let url = format!("ws://{address}");
    let arguments = [url.as_str()];
    let redirect = to(302, &format!("ws://{other}"));
    let (output, _) = tokio::join!(run(EXE, &arguments, "Ada\n"), answer(&first, &redirect));
    failed(&output, &format!("no answer from ws://{other} within 10 s"));
}

#[tokio::test]
async fn the_password_stays_with_its_server() {
    let ((first, address), (second, other)) = (listen().await, listen().await);
    let url = format!("ws://ada:secret@{address}");
    let arguments = [url.as_str()];
    let server = async {
        answer(&first, &to(302, "/here")).await;
        let kept = answer(&first, &to(302, &format!("ws://{other}/there"))).await;
        assert!(kept.contains("authorization: Basic "), "{kept}");
        let told = answer(&second, "HTTP/1.1 404 x\r\n\r\n").await;
        assert!(!told.contains("authorization"), "{told}");
    };
    let (output, ()) = tokio::join!(run(EXE, &arguments, "Ada\n"), server);
    failed(&output, &format!("ws://{other}/there answered 404"));
}

#[tokio::test]
async fn where_it_cannot_follow_it_says_where_to() {
    for (location, says) in [
        (
            "https://eve:secret@example.com/chat",
            "redirects to https://example.com/chat, which is not a WebSocket URL",
        ),
        ("wss://localhost/", "this client does not encrypt; use wss-client for wss://localhost"),
        ("ws://localhost:99999", "redirects, but the port of ws://localhost:99999 is not a number"),
        ("mailto:ada@example.com", "redirects, but \"example.com\" is not a WebSocket URL"),
    ] {
        let (listener, address) = listen().await;
        let url = format!("ws://{address}");
        let arguments = [url.as_str()];
        let answer = to(301, location);
        let (output, _) =
            tokio::join!(run(EXE, &arguments, "Ada\n"), crate::answer(&listener, &answer));
        failed(&output, says);
        assert!(!text(&output.stderr).contains("secret"));
    }
}
