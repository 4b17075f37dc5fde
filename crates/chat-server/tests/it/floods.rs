use serde_json::json;
use testing::{Peer, Raw, frame, soon};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::{Chat, event, greeting, line, next};

#[tokio::test]
async fn a_persistent_flooder_is_closed_with_1008() {
    let chat = Chat::start(&[]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let mut bob = chat.join("lobby", "Bob").await;
    greeting(&mut ada).await;
    greeting(&mut bob).await;
    for n in 0..100 {
        ada.feed(line(n, "flood")).await;
    }
    ada.flush().await;
    let mut refused = 0;
    while let Message::Text(text) = ada.message().await {
        refused += usize::from(text.contains("too many messages"));
    }
    assert_eq!(refused, 20);
    // Bob received only as many messages as one user may send, and can still post.
    bob.send(line(1, "Hi")).await;
    let mut received = 0;
    while next(&mut bob, "message").await["text"] == "flood" {
        received += 1;
    }
    assert!((1..=20).contains(&received), "{received} received");
}

#[tokio::test]
async fn many_connections_of_one_person_share_what_it_may_say() {
    let chat = Chat::start(&[]).await;
    let mut peers = Vec::new();
    for _ in 0..4 {
        let mut ada = chat.join("lobby", "Ada").await;
        greeting(&mut ada).await;
        peers.push(ada);
    }
    let mut refused = 0;
    for (n, mut ada) in peers.into_iter().enumerate() {
        for i in 0..5 {
            ada.feed(line(format!("{n} {i}"), "Hi")).await;
        }
        ada.flush().await;
        let mut answers = 0;
        while answers < 5 {
            let event = event(&mut ada).await;
            let is_error = event["type"] == "error";
            let is_own = event["id"].as_str().is_some_and(|id| id.starts_with(&format!("{n} ")));
            refused += usize::from(is_error);
            answers += usize::from(is_error || is_own);
        }
    }
    assert!(refused >= 10, "{refused} of 20 were refused");
}

#[tokio::test]
async fn an_invalid_message_gets_an_error_without_echo() {
    let chat = Chat::start(&["--rate", "1000"]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    greeting(&mut ada).await;
    let long = "x".repeat(1001);
    let post = |id: &str, text: &str| json!({"id": id, "text": text}).to_string();
    for message in [
        "Forged!".to_owned(),
        "{}".to_owned(),
        r#"{"action":"Forged!"}"#.to_owned(),
        r#"{"id":1,"text":"Forged!"}"#.to_owned(),
        r#"["1","Forged!"]"#.to_owned(),
        r#"{"id":"1","text":"Forged!"} Forged!"#.to_owned(),
        "[".repeat(10_000),
        post("1", ""),
        post("1", " \n\u{2003} "),
        post("1", &long),
        post("", "Forged!"),
        post(&long, "Forged!"),
    ] {
        ada.send(message.clone()).await;
        let event = ada.text().await;
        if event.contains(r#""presence""#) {
            continue;
        }
        assert!(
            event.starts_with(r#"{"type":"error","id":null,"message":""#),
            "{message}: {event}"
        );
        assert!(!event.contains("Forged!"), "{event}");
    }
    ada.send(Message::binary(line(1, "binary is fine").into_data())).await;
    while next_text(&mut ada).await != "binary is fine" {}
}

async fn next_text(peer: &mut testing::Peer) -> String {
    loop {
        let event = event(peer).await;
        if event["type"] == "message" {
            return event["text"].as_str().unwrap().to_owned();
        }
    }
}

fn long() -> String {
    "x".repeat(1000)
}

/// Posts 10 MB with the ids 0 to 9,999. This fills the buffers between the server and a slow client,
/// and the tape moves past its cursor. Returns the last number.
async fn post_10_mb(ada: &mut Peer) -> i64 {
    let mut last = 0;
    for round in 0..100 {
        for n in 0..100 {
            ada.feed(line(round * 100 + n, &long())).await;
        }
        ada.flush().await;
        for _ in 0..100 {
            let number = next(ada, "message").await["number"].as_i64().unwrap();
            assert!(number > last);
            last = number;
        }
    }
    last
}

#[tokio::test]
async fn a_stopped_reader_is_told_of_its_gap() {
    let chat = Chat::start(&["--rate", "100000", "--ping-interval", "0"]).await;
    let mut slow = chat.join("lobby", "Slow").await;
    greeting(&mut slow).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let last = post_10_mb(&mut ada).await;
    let (mut gaps, mut heard) = (0, 0);
    while heard < last {
        let event = event(&mut slow).await;
        gaps += usize::from(event["type"] == "gap");
        if let Some(number) = event["number"].as_i64() {
            assert!(number > heard, "an older one after a newer one");
            heard = number;
        }
    }
    assert!(gaps > 0);
}

#[tokio::test]
async fn a_resent_message_keeps_its_order() {
    let chat = Chat::start(&["--rate", "100000", "--ping-interval", "0"]).await;
    let mut slow = chat.join("lobby", "Ada").await;
    greeting(&mut slow).await;
    let mut ada = chat.join("lobby", "Ada").await;
    post_10_mb(&mut ada).await;
    slow.send(line(9_999, &long())).await;
    ada.send(line(10_000, "and on")).await;
    let mut heard = 0;
    while heard < 10_000 {
        let event = event(&mut slow).await;
        if let Some(id) = event["id"].as_str() {
            let id = id.parse().unwrap();
            assert!(id >= heard, "{id} after {heard}: a page would ignore it as an old message");
            heard = id;
        }
    }
}

#[tokio::test]
async fn who_comes_too_often_is_1013_and_others_are_let_in() {
    let chat = Chat::start(&["--rate", "1"]).await;
    let mut refused = 0;
    for _ in 0..10 {
        let mut ada = chat.join("lobby", "Ada").await;
        if let Message::Close(frame) = ada.message().await {
            assert_eq!(frame.unwrap().code, CloseCode::Again);
            refused += 1;
        }
    }
    assert!(refused >= 5, "{refused} of 10 were refused");
    greeting(&mut chat.join("lobby", "Bob").await).await;
}

#[tokio::test]
async fn the_eleventh_connection_of_a_name_gets_1013() {
    let chat = Chat::start(&["--rate", "1000"]).await;
    let mut peers = Vec::new();
    for _ in 0..10 {
        let mut peer = chat.join("lobby", "Ada").await;
        greeting(&mut peer).await;
        peers.push(peer);
    }
    let mut late = chat.join("lobby", "Ada").await;
    assert_eq!(late.closed().await.0, 1013);
    // The limit is for one name in one room. A rejected connection does not count.
    greeting(&mut chat.join("lobby", "Bob").await).await;
    greeting(&mut chat.join("cellar", "Ada").await).await;
    peers.pop().unwrap().close().await;
    // The server may need some time to notice the close.
    let joined =
        async { while let Message::Close(_) = chat.join("lobby", "Ada").await.message().await {} };
    soon("a free connection slot", joined).await;
}

#[tokio::test]
async fn a_flood_of_frames_ends_with_1008_or_1009_and_nothing_else() {
    let chat = Chat::start(&[]).await;
    for (name, payload, code) in
        [("Ada", b"x".repeat(10), 1008), ("Bob", b"x".repeat(2 << 20), 1009)]
    {
        let token = chat.token("lobby", name);
        let mut raw = Raw::connect(chat.server.address).await;
        raw.write(format!(
            "GET /rooms/lobby HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        ))
        .await;
        assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(raw.flood(&frame(0x81, payload)).await, Some(code));
    }
}
