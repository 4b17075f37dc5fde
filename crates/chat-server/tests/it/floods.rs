use serde_json::json;
use testing::{Peer, Raw, frame, soon};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::{Chat, event, greeting, line, next};

#[tokio::test]
async fn who_says_too_much_is_told_to_wait_and_who_goes_on_is_closed_with_1008() {
    let chat = Chat::start(&[]).await;
    let mut ada = chat.visit("lobby", "Ada").await;
    let mut bob = chat.visit("lobby", "Bob").await;
    greeting(&mut ada).await;
    greeting(&mut bob).await;
    for n in 0..100 {
        ada.feed(line(n, "flood")).await;
    }
    ada.flush().await;
    let mut refused = 0;
    while let Message::Text(text) = ada.message().await {
        refused += usize::from(text.contains("wait a little"));
    }
    assert_eq!(refused, 20);
    // The others heard as much of it as one may say, and are not disturbed.
    bob.send(line(1, "Hi")).await;
    let mut heard = 0;
    while next(&mut bob, "message").await["text"] == "flood" {
        heard += 1;
    }
    assert!((1..=20).contains(&heard), "{heard} heard");
}

#[tokio::test]
async fn many_connections_of_one_person_share_what_it_may_say() {
    let chat = Chat::start(&[]).await;
    let mut peers = Vec::new();
    for _ in 0..4 {
        let mut ada = chat.visit("lobby", "Ada").await;
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
async fn what_cannot_be_said_gets_an_error_that_repeats_nothing_and_the_connection_stays() {
    let chat = Chat::start(&["--rate", "1000"]).await;
    let mut ada = chat.visit("lobby", "Ada").await;
    greeting(&mut ada).await;
    let long = "x".repeat(1001);
    let say = |id: &str, text: &str| json!({"id": id, "text": text}).to_string();
    for message in [
        "Forged!".to_owned(),
        "{}".to_owned(),
        r#"{"action":"Forged!"}"#.to_owned(),
        r#"{"id":1,"text":"Forged!"}"#.to_owned(),
        r#"{"id":"1","text":"Forged!"} Forged!"#.to_owned(),
        "[".repeat(10_000),
        say("1", ""),
        say("1", " \n\u{2003} "),
        say("1", &long),
        say("", "Forged!"),
        say(&long, "Forged!"),
    ] {
        ada.send(message.clone()).await;
        let event = ada.text().await;
        if event.contains(r#""here""#) {
            continue;
        }
        assert!(event.starts_with(r#"{"type":"error","message":""#), "{message}: {event}");
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

/// Says 10 MB, by the ids 0 to 9,999: until the buffers between us and a slow one are full, and the
/// tape is past it. Returns the last number.
async fn talk_much(ada: &mut Peer) -> i64 {
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
async fn a_reader_that_stops_costs_the_others_nothing_and_is_told_of_its_gap() {
    let chat = Chat::start(&["--rate", "100000", "--ping-interval", "0"]).await;
    let mut slow = chat.visit("lobby", "Slow").await;
    greeting(&mut slow).await;
    let mut ada = chat.visit("lobby", "Ada").await;
    let last = talk_much(&mut ada).await;
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
async fn who_says_again_what_it_has_not_heard_yet_hears_it_in_its_place() {
    let chat = Chat::start(&["--rate", "100000", "--ping-interval", "0"]).await;
    let mut slow = chat.visit("lobby", "Ada").await;
    greeting(&mut slow).await;
    let mut ada = chat.visit("lobby", "Ada").await;
    talk_much(&mut ada).await;
    slow.send(line(9_999, &long())).await;
    ada.send(line(10_000, "and on")).await;
    let mut heard = 0;
    while heard < 10_000 {
        let event = event(&mut slow).await;
        if let Some(id) = event["id"].as_str() {
            let id = id.parse().unwrap();
            assert!(id >= heard, "{id} after {heard}: a page takes it for told");
            heard = id;
        }
    }
}

#[tokio::test]
async fn who_comes_too_often_is_1013_and_others_are_let_in() {
    let chat = Chat::start(&["--rate", "1"]).await;
    let mut refused = 0;
    for _ in 0..10 {
        let mut ada = chat.visit("lobby", "Ada").await;
        if let Message::Close(frame) = ada.message().await {
            assert_eq!(frame.unwrap().code, CloseCode::Again);
            refused += 1;
        }
    }
    assert!(refused >= 5, "{refused} of 10 were refused");
    greeting(&mut chat.visit("lobby", "Bob").await).await;
}

#[tokio::test]
async fn the_eleventh_connection_of_one_name_in_a_room_is_1013_until_another_ends() {
    let chat = Chat::start(&["--rate", "1000"]).await;
    let mut peers = Vec::new();
    for _ in 0..10 {
        let mut peer = chat.visit("lobby", "Ada").await;
        greeting(&mut peer).await;
        peers.push(peer);
    }
    let mut late = chat.visit("lobby", "Ada").await;
    assert_eq!(late.closed().await.0, 1013);
    // It is for one name in one room, and does not count who was refused.
    greeting(&mut chat.visit("lobby", "Bob").await).await;
    greeting(&mut chat.visit("cellar", "Ada").await).await;
    peers.pop().unwrap().close().await;
    // The server notices in its own time.
    let let_in =
        async { while let Message::Close(_) = chat.visit("lobby", "Ada").await.message().await {} };
    soon("a place", let_in).await;
}

#[tokio::test]
async fn a_flood_of_frames_ends_with_1008_or_1009_and_nothing_else() {
    let chat = Chat::start(&[]).await;
    for (name, payload, code) in
        [("Ada", b"x".repeat(10), 1008), ("Bob", b"x".repeat(2 << 20), 1009)]
    {
        let pass = chat.pass("lobby", name);
        let mut raw = Raw::connect(chat.server.address).await;
        raw.write(format!(
            "GET /rooms/lobby HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {pass}\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        ))
        .await;
        assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(raw.flood(&frame(0x81, payload)).await, Some(code));
    }
}
