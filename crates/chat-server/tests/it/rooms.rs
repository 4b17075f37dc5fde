use std::collections::HashMap;

use serde_json::json;
use testing::{HANDSHAKE, Raw};
use tokio::task::JoinSet;

use crate::{Chat, event, greeting, line, next, post, texts};

#[tokio::test]
async fn a_room_receives_its_messages_in_one_order() {
    let chat = Chat::start(&["--rate", "10000"]).await;
    let mut other = chat.join("cellar", "Eve").await;
    greeting(&mut other).await;
    let mut peers = Vec::new();
    for n in 0..10 {
        let mut peer = chat.join("lobby", &format!("P{n}")).await;
        greeting(&mut peer).await;
        peers.push(peer);
    }
    let mut tasks = JoinSet::new();
    for (n, mut peer) in peers.into_iter().enumerate() {
        tasks.spawn(async move {
            for i in 0..20 {
                peer.feed(line(i, &format!("{n} {i}"))).await;
            }
            peer.flush().await;
            let mut heard = Vec::new();
            while heard.len() < 200 {
                let message = next(&mut peer, "message").await;
                heard.push((message["number"].as_i64().unwrap(), message["text"].to_string()));
            }
            heard
        });
    }
    let heard = tasks.join_all().await;
    assert!(heard[0].windows(2).all(|pair| pair[0].0 < pair[1].0), "{:?}", heard[0]);
    assert!(heard.iter().all(|of_one| *of_one == heard[0]));
    // And what one said comes in the order in which it was said.
    let mut last = HashMap::new();
    for (_, text) in &heard[0] {
        let (who, n) = text.trim_matches('"').split_once(' ').unwrap();
        let n: i32 = n.parse().unwrap();
        assert!(last.insert(who.to_owned(), n).is_none_or(|before| before + 1 == n));
    }
    other.send(line(1, "alone")).await;
    assert_eq!(next(&mut other, "message").await["text"], "alone");
}

#[tokio::test]
async fn a_message_has_number_time_name_and_id() {
    let chat = Chat::start(&[]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let before = crate::now();
    ada.send(line("x1", "Hi")).await;
    let message = next(&mut ada, "message").await;
    let number = message["number"].as_i64().unwrap();
    let time = message["time"].as_i64().unwrap();
    assert!((before..=crate::now()).contains(&time), "{message}");
    let whole = json!({
        "type": "message", "number": number, "time": time, "name": "Ada", "id": "x1", "text": "Hi"
    });
    assert_eq!(message, whole);
}

#[tokio::test]
async fn presence_is_sent_once_per_name_that_changes() {
    let chat = Chat::start(&[]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    greeting(&mut ada).await;
    let bob = chat.join("lobby", "Bob").await;
    let bob_again = chat.join("lobby", "Bob").await;
    let both = json!({"type": "presence", "count": 2, "names": ["Ada", "Bob"]});
    while next(&mut ada, "presence").await != both {}
    bob.close().await;
    drop(bob_again); // Without a close frame.
    let alone = json!({"type": "presence", "count": 1, "names": ["Ada"]});
    while next(&mut ada, "presence").await != alone {}
}

#[tokio::test]
async fn of_sixty_who_are_here_fifty_are_named() {
    let chat = Chat::start(&[]).await;
    let mut peers = Vec::new();
    for n in 0..60 {
        peers.push(chat.join("lobby", &format!("P{n:02}")).await);
    }
    let mut last = chat.join("lobby", "Zoë").await;
    loop {
        let presence = next(&mut last, "presence").await;
        let named = presence["names"].as_array().unwrap().len();
        assert!(named <= 50);
        if presence["count"] == 61 {
            break assert_eq!(named, 50);
        }
    }
}

#[tokio::test]
async fn names_and_texts_arrive_unchanged() {
    let chat = Chat::start(&["--rate", "1000"]).await;
    let strange = [
        "<script>alert(1)</script>",
        "\"'&quot;\\ \\u0000",
        "Zoë 👩‍👩‍👧‍👦 Z\u{35b}\u{321}a\u{327}l\u{30d}go",
        "שלום \u{202e}txt.exe",
        "\u{0}\u{7}\u{1b}[2J\u{7f}",
        "a\nb\r\nc\td\u{2028}e",
        "'); DROP TABLE messages; --",
        "\u{feff}\u{fffe}\u{10ffff}",
        &"😀".repeat(1000),
    ];
    for (n, text) in strange.iter().enumerate() {
        let name: String = text.chars().take(32).collect();
        let mut peer = chat.join("lobby", &name).await;
        assert_eq!(event(&mut peer).await["name"], name);
        peer.send(line(n, text)).await;
        while next(&mut peer, "message").await["text"] != *text {}
        peer.close().await;
    }
    let mut peer = chat.join("lobby", "Ada").await;
    assert_eq!(texts(&greeting(&mut peer).await), strange);
}

#[tokio::test]
async fn a_new_client_receives_the_last_fifty_messages() {
    let chat = Chat::start(&["--rate", "1000"]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    post(&mut ada, 1, 60).await;
    let expected: Vec<_> = (11..=60).map(|n| n.to_string()).collect();
    let mut bob = chat.join("lobby", "Bob").await;
    assert_eq!(texts(&greeting(&mut bob).await), expected);
    ada.close().await;
    bob.close().await;
    let mut eve = chat.join("lobby", "Eve").await;
    assert_eq!(texts(&greeting(&mut eve).await), expected);
}

#[tokio::test]
async fn a_browser_receives_compressed_messages() {
    for (flags, is_compressed) in [(&[][..], true), (&["--compression", "none"], false)] {
        let chat = Chat::start(flags).await;
        let bearer = format!("Authorization: Bearer {}\r\n", chat.token("lobby", "Ada"));
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nHost:";
        let request = HANDSHAKE.replace("GET / ", "GET /rooms/lobby ");
        let mut raw = Raw::connect(chat.server.address).await;
        raw.write(request.replace("Host:", &(bearer + offer))).await;
        let head = raw.head().await;
        assert_eq!(head.contains("permessage-deflate"), is_compressed, "{head}");
        raw.frame(0x81, json!({"id": "1", "text": "a".repeat(500)}).to_string()).await;
        // The greeting is short.
        let (mut first, mut payload) = raw.next_frame().await.unwrap();
        while payload.starts_with(b"{") && !payload.ends_with(b"aaa\"}") {
            (first, payload) = raw.next_frame().await.unwrap();
        }
        assert_eq!(first, if is_compressed { 0xc1 } else { 0x81 });
    }
}
