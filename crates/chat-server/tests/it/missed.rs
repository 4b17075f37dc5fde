use serde_json::{Value, json};
use testing::Peer;
use tokio::task::JoinSet;

use crate::{Chat, event, greeting, line, next, now, post, texts};

fn numbers(events: &[Value]) -> Vec<i64> {
    let messages = events.iter().filter(|event| event["type"] == "message");
    messages.filter_map(|event| event["number"].as_i64()).collect()
}

fn has_gap(events: &[Value]) -> bool {
    events.contains(&json!({"type": "gap"}))
}

fn range(from: usize, to: usize) -> Vec<String> {
    (from..=to).map(|n| n.to_string()).collect()
}

async fn reconnect(chat: &Chat, since: i64) -> (Peer, Vec<Value>) {
    let mut peer = chat.rejoin("lobby", "Bob", &format!("?since={since}")).await;
    let events = greeting(&mut peer).await;
    (peer, events)
}

#[tokio::test]
async fn who_comes_back_hears_exactly_what_it_missed() {
    let chat = Chat::start(&["--rate", "1000"]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let first = post(&mut ada, 1, 100).await;
    let last = post(&mut ada, 101, 250).await;
    let (mut bob, events) = reconnect(&chat, first).await;
    assert_eq!((texts(&events), has_gap(&events)), (range(101, 250), false));
    post(&mut ada, 251, 251).await;
    assert_eq!(next(&mut bob, "message").await["text"], "251");
    let (_bob, events) = reconnect(&chat, last + 1_000_000).await;
    assert!(has_gap(&events), "a number that was never given");
    // Alone again, so that the room is read from the disk.
    ada.close().await;
    bob.close().await;
    drop(_bob);
    let (_bob, events) = reconnect(&chat, last).await;
    assert_eq!((texts(&events), has_gap(&events)), (range(251, 251), false));
}

#[tokio::test]
async fn a_client_behind_the_tape_gets_a_gap() {
    let mut chat = Chat::start(&["--rate", "1000"]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let first = post(&mut ada, 1, 1).await;
    let second = post(&mut ada, 2, 2).await;
    post(&mut ada, 3, 502).await;
    for _ in 0..2 {
        // A client receives at most 500 messages when it reconnects.
        let (_bob, events) = reconnect(&chat, second).await;
        assert_eq!((texts(&events), has_gap(&events)), (range(3, 502), false));
        let (_bob, events) = reconnect(&chat, first).await;
        assert_eq!((texts(&events), has_gap(&events)), (range(453, 502), true));
        chat.kill_and_restart().await;
    }
}

#[tokio::test]
async fn reconnecting_to_a_formerly_empty_room_misses_nothing() {
    let chat = Chat::start(&["--rate", "1000"]).await;
    let mut bob = chat.join("lobby", "Bob").await;
    let last = greeting(&mut bob).await[0]["number"].as_i64().unwrap();
    bob.close().await;
    let (_bob, events) = reconnect(&chat, last).await;
    assert_eq!((texts(&events), has_gap(&events)), (vec![], false));
    post(&mut chat.join("lobby", "Ada").await, 1, 60).await;
    let (_bob, events) = reconnect(&chat, last).await;
    assert_eq!((texts(&events), has_gap(&events)), (range(1, 60), false));
}

#[tokio::test]
async fn a_lost_database_is_reported_as_a_gap() {
    let mut chat = Chat::start(&["--rate", "1000"]).await;
    let last = post(&mut chat.join("lobby", "Ada").await, 1, 2).await;
    chat.server.kill().await;
    for end in ["", "-wal", "-shm"] {
        _ = std::fs::remove_file(chat.folder.join(format!("chat.db{end}")));
    }
    chat.kill_and_restart().await;
    let (_bob, events) = reconnect(&chat, last).await;
    assert!(has_gap(&events), "{events:?}");
}

#[tokio::test]
async fn an_unknown_number_is_a_gap() {
    let chat = Chat::start(&[]).await;
    let eight_days = 8 * 24 * 3600 * 1000;
    let (_bob, events) = reconnect(&chat, now() - eight_days).await;
    assert!(has_gap(&events), "{events:?}");
}

#[tokio::test]
async fn a_query_is_parsed_or_answered_with_400() {
    let chat = Chat::start(&["--rate", "1000"]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let first = post(&mut ada, 1, 1).await;
    post(&mut ada, 2, 60).await;
    for query in ["?", "?until=1"] {
        let mut bob = chat.rejoin("lobby", "Bob", query).await;
        let events = greeting(&mut bob).await;
        assert_eq!((texts(&events), has_gap(&events)), (range(11, 60), false), "{query}");
    }
    for query in [format!("?since={first}&x=1"), format!("?x=1&since={first}")] {
        let mut bob = chat.rejoin("lobby", "Bob", &query).await;
        let events = greeting(&mut bob).await;
        assert_eq!((texts(&events), has_gap(&events)), (range(2, 60), false), "{query}");
    }
    let authorization = format!("Bearer {}", chat.token("lobby", "Bob"));
    for since in ["", "x", "99999999999999999999", "1.5", "%20"] {
        let path = format!("/rooms/lobby?since={since}");
        let status = chat.connect(&path, &[("Authorization", &authorization)]).await.err();
        assert_eq!(status, Some(400), "{since:?}");
    }
    for since in [-1, 0] {
        let (_bob, events) = reconnect(&chat, since).await;
        assert_eq!((texts(&events), has_gap(&events)), (range(11, 60), true), "{since}");
    }
}

#[tokio::test]
async fn what_is_said_again_under_the_same_id_is_heard_once() {
    let mut chat = Chat::start(&["--rate", "1000"]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let mut bob = chat.join("lobby", "Bob").await;
    greeting(&mut bob).await;
    for _ in 0..3 {
        ada.send(line("once", "once")).await;
    }
    ada.send(line(1, "1")).await;
    let once = next(&mut bob, "message").await;
    assert_eq!(once["text"], "once");
    assert_eq!(next(&mut bob, "message").await["text"], "1");
    chat.kill_and_restart().await;
    let mut ada = chat.join("lobby", "Ada").await;
    greeting(&mut ada).await;
    let mut bob = chat.join("lobby", "Bob").await;
    greeting(&mut bob).await;
    ada.send(line("once", "once")).await;
    ada.send(line(2, "2")).await;
    // Ada sends it again because she received no answer, and receives it with the same number.
    assert_eq!(next(&mut ada, "message").await, once);
    assert_eq!(next(&mut bob, "message").await["text"], "2");
    // Another's id may be the same.
    bob.send(line("once", "once, says Bob")).await;
    while next(&mut ada, "message").await["text"] != "once, says Bob" {}
    let mut eve = chat.join("lobby", "Eve").await;
    let mut heard = texts(&greeting(&mut eve).await);
    heard.sort();
    assert_eq!(heard, ["1", "2", "once", "once, says Bob"]);
}

#[tokio::test]
async fn five_hundred_reconnecting_clients_miss_nothing() {
    let mut chat = Chat::start(&["--rate", "10000"]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let seen = post(&mut ada, 1, 100).await;
    post(&mut ada, 101, 150).await;
    chat.kill_and_restart().await;
    let bearers: Vec<_> =
        (0..500).map(|n| format!("Bearer {}", chat.token("lobby", &format!("P{n}")))).collect();
    let url = format!("{}/rooms/lobby?since={seen}", chat.server.url());
    let mut tasks = JoinSet::new();
    for bearer in bearers {
        let url = url.clone();
        tasks.spawn(async move {
            use tungstenite::client::IntoClientRequest;
            let mut request = url.into_client_request().unwrap();
            request.headers_mut().insert("Authorization", bearer.parse().unwrap());
            let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
            let mut peer = Peer(socket);
            let mut heard = Vec::new();
            while heard.len() < 200 - 100 {
                heard.push(next(&mut peer, "message").await);
            }
            assert_eq!(texts(&heard), range(101, 200));
            let numbers = numbers(&heard);
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
            peer
        });
    }
    let mut ada = chat.join("lobby", "Ada").await;
    greeting(&mut ada).await;
    post(&mut ada, 151, 200).await;
    let peers = tasks.join_all().await;
    let is_full = async |peer: &mut Peer| next(peer, "presence").await["count"] == 501;
    while !is_full(&mut ada).await {}
    drop(peers);
    let alone = async |peer: &mut Peer| event(peer).await["count"] == 1;
    while !alone(&mut ada).await {}
}

#[tokio::test]
async fn a_resent_stored_message_is_acknowledged_once() {
    let chat = Chat::start(&["--rate", "1000"]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    ada.send(line("mine", "once")).await;
    let first = next(&mut ada, "message").await;
    post(&mut ada, 1, 60).await;
    // She reconnects without having received it, and it is not among the latest messages.
    let mut again = chat.join("lobby", "Ada").await;
    greeting(&mut again).await;
    again.send(line("mine", "once")).await;
    assert_eq!(next(&mut again, "message").await, first);
    post(&mut ada, 61, 61).await;
    assert_eq!(next(&mut again, "message").await["text"], "61");
}
