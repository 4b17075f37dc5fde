use std::sync::Arc;

use testing::{Peer, soon};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tungstenite::Message;

use crate::{Chat, greeting, line, texts};

/// Posts messages until the connection ends. Returns the acknowledged ones, and how many were sent.
async fn post_until_closed(mut peer: Peer, well_under_way: Arc<Semaphore>) -> (Vec<String>, usize) {
    use futures_util::{SinkExt, StreamExt};
    let mut acknowledged = Vec::new();
    let mut sent = 0;
    loop {
        // 16 in flight.
        while sent < acknowledged.len() + 16 {
            if peer.0.send(line(sent, &format!("{sent}"))).await.is_err() {
                return (acknowledged, sent);
            }
            sent += 1;
        }
        let Some(Ok(Message::Text(text))) = peer.0.next().await else {
            return (acknowledged, sent);
        };
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        if event["type"] == "message" {
            acknowledged.push(event["text"].as_str().unwrap().to_owned());
            well_under_way.add_permits(usize::from(acknowledged.len() == 100));
        }
    }
}

#[tokio::test]
async fn kill_9_loses_no_acknowledged_message() {
    let mut chat = Chat::start(&["--rate", "100000"]).await;
    let (mut tasks, well_under_way) = (JoinSet::new(), Arc::new(Semaphore::new(0)));
    for room in 0..4 {
        let peer = chat.join(&format!("room-{room}"), "Ada").await;
        let posting = post_until_closed(peer, well_under_way.clone());
        tasks.spawn(async move { (room, posting.await) });
    }
    _ = soon("the talk to be under way", well_under_way.acquire_many(4)).await.unwrap();
    chat.kill_and_restart().await;
    for (room, (acknowledged, sent)) in tasks.join_all().await {
        assert!(acknowledged.len() >= 100);
        let mut back = chat.join(&format!("room-{room}"), "Ada").await;
        let kept = texts(&greeting(&mut back).await);
        let newest: usize = kept.last().unwrap().parse().unwrap();
        assert!(newest + 1 >= acknowledged.len() && newest < sent);
        // The last fifty, one after the other: no hole, nothing twice.
        let first = (newest + 1).saturating_sub(50);
        let expected: Vec<_> = (first..=newest).map(|n| n.to_string()).collect();
        assert_eq!(kept, expected);
    }
}

#[tokio::test]
async fn sigterm_closes_with_1001_and_what_was_said_is_there_after_it() {
    let mut chat = Chat::start(&[]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    crate::post(&mut ada, 1, 3).await;
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
    let mut ada = chat.join("lobby", "Ada").await;
    assert_eq!(texts(&greeting(&mut ada).await), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_second_server_waits_for_the_database() {
    let mut chat = Chat::start(&[]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    crate::post(&mut ada, 1, 3).await;
    let second = crate::start(&chat.folder, &[]);
    let first = async {
        chat.server.terminate();
        while let Message::Text(_) = ada.message().await {}
        chat.server.exit().await
    };
    let (second, status) = tokio::join!(second, first);
    assert_eq!(status.code(), Some(0));
    chat.server = second;
    let mut ada = chat.join("lobby", "Ada").await;
    assert_eq!(texts(&greeting(&mut ada).await), ["1", "2", "3"]);
    let data = chat.folder.to_str().unwrap();
    let third = testing::run(crate::EXE, &["localhost:0", "--data", data], "").await;
    assert_eq!(third.status.code(), Some(1));
    let message = String::from_utf8(third.stderr).unwrap();
    assert!(message.contains("stop the other server") && message.lines().count() == 1, "{message}");
}

#[tokio::test]
async fn an_unusable_folder_or_database_is_one_sentence() {
    let folder = crate::folder();
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("file");
    std::fs::write(&file, "x".repeat(10_000)).unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, owner_only).unwrap();
    let damaged = folder.join("damaged");
    std::fs::create_dir(&damaged).unwrap();
    std::fs::copy(&file, damaged.join("chat.db")).unwrap();
    for (data, hint) in [(&file, "pass another --data"), (&damaged, "replace it by a backup")] {
        let data = data.to_str().unwrap();
        let output = testing::run(crate::EXE, &["localhost:0", "--data", data], "").await;
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(data) && message.contains(hint), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}
