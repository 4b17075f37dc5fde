use serde_json::json;
use testing::{HANDSHAKE, Raw, frame};
use tungstenite::Message;

use crate::{event, join, start, state, users};

#[tokio::test]
async fn an_invalid_event_gets_an_error_only() {
    let server = start(&[]).await;
    let mut observer = join(&server, 1, 0).await;
    let mut peer = join(&server, 2, 0).await;
    assert_eq!(event(&mut observer).await, users(2));

    let deep = "[".repeat(100_000);
    let deep_member = format!("{{\"x\":{deep}");
    let large = format!("{{\"action\":\"{}\"}}", "a".repeat((1 << 20) - 13));
    let bad = [
        "",
        " ",
        "plus",
        "not json",
        "null",
        "true",
        "5",
        "-1e999",
        "\"plus\"",
        "[]",
        "[\"plus\"]",
        "{}",
        "{",
        "{\"action\"",
        "{\"action\":}",
        "{\"action\":\"plus\"",
        "{\"action\":\"plus\"}}",
        "{\"action\":\"plus\"}{\"action\":\"plus\"}",
        "{\"action\":null}",
        "{\"action\":0}",
        "{\"action\":true}",
        "{\"action\":[\"plus\"]}",
        "{\"action\":{\"plus\":null}}",
        "{\"action\":\"PLUS\"}",
        "{\"action\":\"plus \"}",
        "{\"action\":\"jump\"}",
        "{\"Action\":\"plus\"}",
        "{\"value\":5}",
        "{\"action\":\"plus\",\"action\":\"plus\"}",
        "{'action':'plus'}",
        "\u{feff}{\"action\":\"plus\"}",
        &deep,
        &deep_member,
        &large,
    ];
    for text in bad {
        let shown = text.chars().take(40).collect::<String>();
        peer.send(text).await;
        let told = event(&mut peer).await;
        assert_eq!(told["type"], "error", "{shown}");
        let members = told.as_object().unwrap();
        assert_eq!(members.len(), 2, "{told}");
        assert!(!members["message"].as_str().unwrap().is_empty());
    }
    for bytes in [&b"\xff\xfe\0"[..], b"{\"action\":\"plus\",\"x\":\"\xff\"}"] {
        peer.send(Message::binary(bytes)).await;
        assert_eq!(event(&mut peer).await["type"], "error");
    }

    // Nothing was counted, and the observer received nothing.
    peer.send(json!({"action": "plus"}).to_string()).await;
    assert_eq!(event(&mut peer).await, state(1));
    assert_eq!(event(&mut observer).await, state(1));
}

#[tokio::test]
async fn the_log_names_the_client_behind_a_trusted_proxy() {
    let server = start(&["--trusted-proxy", "127.0.0.1", "--trusted-proxy", "::1"]).await;
    let mut raw = Raw::connect(server.address).await;
    let forwarded = HANDSHAKE.replace("Host:", "X-Forwarded-For: 192.0.2.7\r\nHost:");
    raw.write([forwarded.as_bytes(), &frame(0x81, "junk")].concat()).await;
    server.logged("rejected: an event is a JSON object").await;
    server.logged("peer=192.0.2.7:0").await;
}

#[tokio::test]
async fn an_early_sender_receives_users_and_state_first() {
    let server = start(&[]).await;
    for users in 1..=20 {
        let mut raw = Raw::connect(server.address).await;
        raw.write([HANDSHAKE.as_bytes(), &frame(0x81, "junk"), &frame(0x81, "junk")].concat())
            .await;
        raw.head().await;
        for part in
            [format!(r#""users","count":{users}}}"#), r#""state""#.into(), r#""error""#.into()]
        {
            let (_, told) = raw.next_frame().await.unwrap();
            let told = String::from_utf8(told).unwrap();
            assert!(told.contains(&part), "{told} and not {part}");
        }
        // It stays.
        std::mem::forget(raw);
    }
}

#[tokio::test]
async fn the_error_does_not_repeat_what_the_client_sent() {
    let server = start(&[]).await;
    let mut peer = join(&server, 1, 0).await;
    for text in
        [r#"{"action":"<script>"}"#, "<script>", r#""<script>""#, r#"{"action":["<script>"]}"#]
    {
        peer.send(text).await;
        let told = event(&mut peer).await;
        assert!(!told["message"].as_str().unwrap().contains("script"), "{told}");
    }
    for text in [r#"{"action":8243921}"#, r#"{"action":-824.3921}"#, "8243921"] {
        peer.send(text).await;
        let told = event(&mut peer).await;
        assert!(!told["message"].as_str().unwrap().contains("3921"), "{told}");
    }
    server.logged("unknown action").await;
    server.logged("must be a string").await;
    assert!(!server.log().contains("script"));
    // The end of these numbers may be in the time of a line.
    assert!(!server.log().contains("8243921") && !server.log().contains("824.3921"));
}
