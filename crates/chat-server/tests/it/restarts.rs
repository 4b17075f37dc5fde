use testing::Peer;
use tokio::task::JoinSet;
use tungstenite::Message;

use crate::{Chat, greeting, line, texts};

/// Says lines until the connection ends; returns which were acknowledged, and how many were said.
async fn talk(mut peer: Peer) -> (Vec<String>, usize) {
    use futures_util::{SinkExt, StreamExt};
    let mut acknowledged = Vec::new();
    let mut said = 0;
    loop {
        // 16 in flight.
        while said < acknowledged.len() + 16 {
            if peer.0.send(line(said, &format!("{said}"))).await.is_err() {
                return (acknowledged, said);
            }
            said += 1;
        }
        let Some(Ok(Message::Text(text))) = peer.0.next().await else {
            return (acknowledged, said);
        };
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        if event["type"] == "message" {
            acknowledged.push(event["text"].as_str().unwrap().to_owned());
        }
    }
}

#[tokio::test]
async fn a_kill_9_loses_nothing_that_was_acknowledged_and_keeps_the_order() {
    let mut chat = Chat::start(&["--rate", "100000"]).await;
    let mut tasks = JoinSet::new();
    for room in 0..4 {
        let peer = chat.visit(&format!("room-{room}"), "Ada").await;
        tasks.spawn(async move { (room, talk(peer).await) });
    }
    // In the midst of it: as soon as a fifth has heard a hundred.
    let mut ada = chat.visit("room-4", "Ada").await;
    crate::say(&mut ada, 1, 100).await;
    chat.kill_and_restart().await;
    for (room, (acknowledged, said)) in tasks.join_all().await {
        assert!(!acknowledged.is_empty());
        let mut back = chat.visit(&format!("room-{room}"), "Ada").await;
        let kept = texts(&greeting(&mut back).await);
        let newest: usize = kept.last().unwrap().parse().unwrap();
        assert!(newest + 1 >= acknowledged.len() && newest < said);
        // The last fifty, one after the other: no hole, nothing twice.
        let first = (newest + 1).saturating_sub(50);
        let expected: Vec<_> = (first..=newest).map(|n| n.to_string()).collect();
        assert_eq!(kept, expected);
    }
}

#[tokio::test]
async fn sigterm_closes_with_1001_and_what_was_said_is_there_after_it() {
    let mut chat = Chat::start(&[]).await;
    let mut ada = chat.visit("lobby", "Ada").await;
    crate::say(&mut ada, 1, 3).await;
    chat.server.terminate();
    loop {
        match ada.message().await {
            Message::Close(Some(frame)) => break assert_eq!(u16::from(frame.code), 1001),
            Message::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(chat.server.exit().await.code(), Some(0));
    chat.kill_and_restart().await;
    let mut ada = chat.visit("lobby", "Ada").await;
    assert_eq!(texts(&greeting(&mut ada).await), ["1", "2", "3"]);
}
