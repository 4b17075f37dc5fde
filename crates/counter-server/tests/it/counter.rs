use std::sync::Arc;

use testing::{HANDSHAKE, Peer, Raw, http, soon};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tungstenite::Message;

use crate::{event, join, start, state, users};

#[tokio::test]
async fn a_new_client_receives_users_then_state() {
    let server = start(&[]).await;
    let mut peer = Peer::connect(&server.url()).await;
    assert_eq!(peer.text().await, r#"{"type":"users","count":1}"#);
    assert_eq!(peer.text().await, r#"{"type":"state","value":0}"#);
}

#[tokio::test]
async fn a_click_reaches_everyone_the_sender_included() {
    let server = start(&[]).await;
    let mut one = join(&server, 1, 0).await;
    let mut two = join(&server, 2, 0).await;
    assert_eq!(event(&mut one).await, users(2));
    one.send(r#"{"action":"plus"}"#).await;
    two.send(Message::binary(br#"{"action": "minus"}"#.as_slice())).await;
    one.send(r#" { "id": [1, {}], "action": "plus", "é": null } "#).await;
    let mut heard = Vec::new();
    for peer in [&mut one, &mut two] {
        heard.push([event(peer).await, event(peer).await, event(peer).await]);
    }
    assert_eq!(heard[0], heard[1]);
    assert_eq!(heard[0][2], state(1));
}

#[tokio::test]
async fn two_connects_and_two_quick_leaves_are_counted_right() {
    let server = start(&[]).await;
    let mut watcher = join(&server, 1, 0).await;
    let two = join(&server, 2, 0).await;
    assert_eq!(event(&mut watcher).await, users(2));
    let three = join(&server, 3, 0).await;
    assert_eq!(event(&mut watcher).await, users(3));
    // One sends a close frame, one disconnects without one.
    two.close().await;
    assert_eq!(event(&mut watcher).await, users(2));
    drop(three);
    assert_eq!(event(&mut watcher).await, users(1));

    // This client connects and disconnects before it receives anything.
    for _ in 0..20 {
        let mut raw = Raw::connect(server.address).await;
        raw.write(HANDSHAKE).await;
    }
    watcher.send(r#"{"action":"plus"}"#).await;
    let settled = async {
        let mut last = users(0);
        loop {
            match event(&mut watcher).await {
                told if told["type"] == "users" => last = told,
                other => assert_eq!(other, state(1)),
            }
            if last == users(1) {
                break;
            }
        }
    };
    // Whether or not the twenty are seen, in the end there is one.
    soon("one user", async {
        let mut newcomer = Peer::connect(&server.url()).await;
        while event(&mut newcomer).await["count"] != 2 {
            newcomer.close().await;
            newcomer = Peer::connect(&server.url()).await;
        }
        newcomer.close().await;
        settled.await;
    })
    .await;
}

#[tokio::test]
async fn fifty_clients_see_every_value_once_in_order() {
    // A client that has received everything waits for the others, and answers no pings meanwhile.
    let server = start(&["--ping-interval", "0"]).await;
    let all_here = Arc::new(Barrier::new(50));
    let mut clients = JoinSet::new();
    for n in 0..50 {
        let (url, all_here) = (server.url(), all_here.clone());
        clients.spawn(async move {
            let mut peer = Peer::connect(&url).await;
            let mut told = event(&mut peer).await;
            assert_eq!(event(&mut peer).await, state(0));
            while told != users(50) {
                told = event(&mut peer).await;
            }
            soon("the others", all_here.wait()).await;

            // Each client clicks `plus` twice more than `minus`.
            for click in 0..100 {
                let plus = if n % 2 == 0 { click < 51 } else { click >= 49 };
                let action = if plus { r#"{"action":"plus"}"# } else { r#"{"action":"minus"}"# };
                peer.send(action).await;
            }
            let mut values = Vec::new();
            for _ in 0..50 * 100 {
                values.push(event(&mut peer).await["value"].as_i64().unwrap());
            }
            (peer, values)
        });
    }
    let (peers, orders): (Vec<_>, Vec<_>) = clients.join_all().await.into_iter().unzip();
    assert_eq!(orders[0].last(), Some(&100));
    assert!(orders.iter().all(|values| *values == orders[0]), "the orders differ");
    let mut before = 0;
    for value in &orders[0] {
        assert_eq!((value - before).abs(), 1, "a value is missing or came twice");
        before = *value;
    }
    join(&server, 51, 100).await;
    drop(peers);
}

#[tokio::test]
async fn the_page_is_at_the_root() {
    let server = start(&[]).await;
    let answer = http(server.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.ends_with(include_str!("../../../../web/counter.html")));
}

#[tokio::test]
async fn a_file_page_is_allowed_without_allow_origin() {
    let server = start(&[]).await;
    assert_eq!(Peer::connect_from(&server.url(), "null").await.is_ok(), crate::LETS_IN_FILES);
    assert_eq!(Peer::connect_from(&server.url(), "https://example.com").await.err(), Some(403));
    let server = start(&["--allow-origin", "https://example.com"]).await;
    assert_eq!(Peer::connect_from(&server.url(), "null").await.err(), Some(403));
}

#[test]
fn the_default_address_is_that_of_the_original() {
    let help = std::process::Command::new(crate::EXE).arg("--help").output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("[default: localhost:6789]"));
}
