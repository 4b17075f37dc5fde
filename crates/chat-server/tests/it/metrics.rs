use futures_util::StreamExt;
use testing::{http, soon};
use tungstenite::protocol::CloseFrame;

use crate::{Chat, greeting, post};

#[tokio::test]
async fn the_figures_are_at_an_address_of_their_own_and_nowhere_else() {
    let free = std::net::SocketAddr::from(([127, 0, 0, 1], testing::free_port()));
    let chat = Chat::start(&["--metrics", &free.to_string(), "--rate", "1000"]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let mut bob = chat.join("lobby", "Bob").await;
    greeting(&mut bob).await;
    post(&mut ada, 1, 10).await;
    bob.close().await;
    drop(chat.join("lobby", "Eve").await); // Without a close frame.
    let mut junk = chat.join("lobby", "Mallory").await;
    for _ in 0..21 {
        junk.send("junk").await;
    }
    while let tungstenite::Message::Text(_) = junk.message().await {}
    // A client may send any code, and each one must not become a metric of its own.
    for code in 4000..4003 {
        let mut peer = chat.join("cellar", "Eve").await;
        peer.0.close(Some(CloseFrame { code: code.into(), reason: "".into() })).await.unwrap();
        while let Some(Ok(_)) = soon("the end", peer.0.next()).await {}
    }
    assert_eq!(chat.connect("/rooms/lobby", &[]).await.err(), Some(401));
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let counted = async {
        loop {
            // A client sees the close before the server has counted it.
            let metrics = http(free, request).await;
            if metrics.contains("chat_closed_total{code=\"other\"} 3\n")
                && metrics.matches("chat_closed_total{").count() == 4
                && metrics.contains("chat_rooms 1\n")
                && metrics.contains("_connections 1\n")
            {
                break metrics;
            }
        }
    };
    let metrics = soon("the metrics", counted).await;
    for line in [
        "\r\ncontent-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n",
        "# TYPE chat_delivery_seconds histogram\n",
        "# TYPE chat_messages counter\n",
        "chat_database_errors_total 0\n",
        "chat_rejected_total{reason=\"401\"} 1\n",
        "chat_rejected_total{reason=\"invalid\"} 21\n",
        "chat_messages_total 10\n",
        "chat_closed_total{code=\"1000\"} 1\n",
        "chat_closed_total{code=\"1006\"} 1\n",
        "chat_closed_total{code=\"1008\"} 1\n",
        "chat_delivery_seconds_bucket{le=\"10.0\"} ",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let (_, count) = metrics.split_once("chat_delivery_seconds_count ").unwrap();
    let count: u32 = count.lines().next().unwrap().parse().unwrap();
    assert!((1..=20).contains(&count), "{metrics}");
    assert!(http(chat.server.address, request).await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn metrics_are_not_for_the_page_of_another_domain() {
    let free = std::net::SocketAddr::from(([127, 0, 0, 1], testing::free_port()));
    let _chat = Chat::start(&["--metrics", &free.to_string()]).await;
    let port = free.port();
    for (host, status) in [
        ("evil.example".to_owned(), 403),
        (format!("evil.example:{port}"), 403),
        (format!("127.0.0.1:{port}"), 200),
        (format!("[::1]:{port}"), 200),
        ("chat:9100".to_owned(), 200),
    ] {
        let answer = http(free, &format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
}
