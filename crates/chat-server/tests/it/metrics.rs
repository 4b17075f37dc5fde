use testing::{http, soon};

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
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let counted = async {
        loop {
            // A client sees the close before the server has counted it.
            let metrics = http(free, request).await;
            if metrics.matches("chat_closed_total{").count() == 3
                && metrics.contains("_connections 1\n")
            {
                break metrics;
            }
        }
    };
    let metrics = soon("the metrics", counted).await;
    for line in [
        "# TYPE chat_delivery_seconds histogram\n",
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
