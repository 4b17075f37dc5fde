use testing::{http, soon};

use crate::{Chat, greeting, say};

#[tokio::test]
async fn the_figures_are_at_an_address_of_their_own_and_nowhere_else() {
    let free = std::net::SocketAddr::from(([127, 0, 0, 1], testing::free_port()));
    let chat = Chat::start(&["--metrics", &free.to_string(), "--rate", "1000"]).await;
    let mut ada = chat.visit("lobby", "Ada").await;
    let mut bob = chat.visit("lobby", "Bob").await;
    greeting(&mut bob).await;
    say(&mut ada, 1, 10).await;
    bob.close().await;
    drop(chat.visit("lobby", "Eve").await); // Without a word.
    let mut junk = chat.visit("lobby", "Mallory").await;
    for _ in 0..21 {
        junk.send("junk").await;
    }
    while let tungstenite::Message::Text(_) = junk.message().await {}
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let counted = async {
        loop {
            // A peer sees the end of its conversation before it is counted.
            let figures = http(free, request).await;
            if figures.matches("chat_closed_total{").count() == 3
                && figures.contains("_connections 1\n")
            {
                break figures;
            }
        }
    };
    let figures = soon("the figures", counted).await;
    for figure in [
        "# TYPE chat_told_seconds histogram\n",
        "chat_messages_total 10\n",
        "chat_closed_total{code=\"1000\"} 1\n",
        "chat_closed_total{code=\"1006\"} 1\n",
        "chat_closed_total{code=\"1008\"} 1\n",
        "chat_told_seconds_bucket{le=\"10.0\"} ",
    ] {
        assert!(figures.contains(figure), "{figure} is not in {figures}");
    }
    let (_, told) = figures.split_once("chat_told_seconds_count ").unwrap();
    let told: u32 = told.lines().next().unwrap().parse().unwrap();
    assert!((1..=20).contains(&told), "{figures}");
    assert!(http(chat.server.address, request).await.starts_with("HTTP/1.1 404 "));
}
