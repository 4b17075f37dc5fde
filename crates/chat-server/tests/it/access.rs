use serde_json::json;
use testing::soon;

use crate::{Chat, greeting, line, next, now, sign};

const OPEN: &[&str] = &[];

async fn status(chat: &Chat, path: &str, token: &str) -> Option<u16> {
    let authorization = format!("Bearer {token}");
    chat.connect(path, &[("Authorization", &authorization)]).await.err()
}

#[tokio::test]
async fn a_pass_opens_its_room_and_says_who_it_is() {
    let chat = Chat::start(OPEN).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let greeting = greeting(&mut ada).await;
    // The number to reconnect with. Before the first message, it is the time of the start.
    let number = greeting[0]["number"].as_i64().unwrap();
    assert!((1..=now()).contains(&number), "{number}");
    assert_eq!(
        greeting,
        [
            json!({"type": "welcome", "name": "Ada", "number": number}),
            json!({"type": "presence", "count": 1, "names": ["Ada"]})
        ]
    );
    assert_eq!(status(&chat, "/rooms/lobby", &chat.token("lobby", "Ada")).await, None);
}

#[tokio::test]
async fn a_wrong_path_is_404_before_the_101_with_or_without_a_pass() {
    let chat = Chat::start(OPEN).await;
    let token = chat.token("lobby", "Ada");
    let long = format!("/rooms/{}", "x".repeat(33));
    for path in
        ["/", "/rooms", "/rooms/", "/rooms/Lobby", "/rooms/a/b", "/rooms/%61", "/lobby", &long]
    {
        assert_eq!(status(&chat, path, &token).await, Some(404), "{path}");
        assert_eq!(chat.connect(path, &[]).await.err(), Some(404), "{path}");
    }
}

#[tokio::test]
async fn a_missing_or_invalid_pass_is_rejected_with_401() {
    let chat = Chat::start(OPEN).await;
    assert_eq!(chat.connect("/rooms/lobby", &[]).await.err(), Some(401));
    let good = chat.token("lobby", "Ada");
    let (payload, signature) = good.split_once('.').unwrap();
    let mallory = sign(&[0; 32], &json!({"room": "lobby", "name": "Ada", "expires": now()}));
    let (forged, _) = mallory.split_once('.').unwrap();
    for token in [
        "",
        ".",
        "Ada",
        payload,
        &chat.token_for("lobby", "Ada", -1),
        &mallory,
        // Another payload with a valid signature, and a signature that is cut.
        &format!("{forged}.{signature}"),
        &format!("{payload}.{}", &signature[..8]),
        &format!("{payload}."),
        &format!("{good}A"),
    ] {
        assert_eq!(status(&chat, "/rooms/lobby", token).await, Some(401), "{token}");
    }
}

#[tokio::test]
async fn a_pass_for_another_room_is_403() {
    let chat = Chat::start(OPEN).await;
    assert_eq!(status(&chat, "/rooms/cellar", &chat.token("lobby", "Ada")).await, Some(403));
}

#[tokio::test]
async fn a_foreign_page_is_403_although_the_browser_brings_the_cookie() {
    let chat = Chat::start(OPEN).await;
    let cookie = format!("{}={}", chat.cookie_name().await, chat.token("lobby", "Ada"));
    for origin in ["https://evil.example", "null"] {
        let headers = [("Cookie", cookie.as_str()), ("Origin", origin)];
        assert_eq!(chat.connect("/rooms/lobby", &headers).await.err(), Some(403), "{origin}");
    }
    assert_eq!(chat.connect("/rooms/lobby", &[("Cookie", &cookie)]).await.err(), None);
}

#[tokio::test]
async fn only_pages_of_the_server_itself_may_connect() {
    let chat = Chat::start(OPEN).await;
    let bearer = format!("Bearer {}", chat.token("lobby", "Ada"));
    let port = chat.server.address.port();
    for (origin, status) in [
        (format!("http://localhost:{port}"), None),
        (format!("http://127.0.0.1:{port}"), None),
        (format!("https://localhost:{port}"), Some(403)),
        (format!("http://localhost:{}", port - 1), Some(403)),
        (format!("http://127.0.0.1:{}", port - 1), Some(403)),
        ("http://localhost".into(), Some(403)),
    ] {
        let headers = [("Authorization", bearer.as_str()), ("Origin", &origin)];
        assert_eq!(chat.connect("/rooms/lobby", &headers).await.err(), status, "{origin}");
    }
}

#[tokio::test]
async fn a_pass_that_expires_ends_the_conversation() {
    let chat = Chat::start(OPEN).await;
    let bearer = format!("Bearer {}", chat.token_for("lobby", "Ada", 2));
    let mut ada = chat.connect("/rooms/lobby", &[("Authorization", &bearer)]).await.ok().unwrap();
    greeting(&mut ada).await;
    while let tungstenite::Message::Text(_) = ada.message().await {}
    let mut bob = chat.join("lobby", "Bob").await;
    assert_eq!(next(&mut bob, "presence").await["names"], json!(["Bob"]));
}

#[cfg(unix)]
#[tokio::test]
async fn messages_are_stored_in_a_private_folder() {
    use std::os::unix::fs::MetadataExt;
    let folder = crate::folder();
    std::fs::create_dir(&folder).unwrap();
    let _server = crate::start(&folder, &[]).await;
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o077, 0, "{entry:?}");
        seen += 1;
    }
    assert!(seen >= 2, "the key and the messages");
    std::fs::remove_dir_all(folder).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn files_that_everyone_can_read_are_rejected() {
    use std::fs::{Permissions, metadata, set_permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use crate::EXE;
    use testing::run;

    let mut chat = Chat::start(OPEN).await;
    let data = chat.folder.to_str().unwrap().to_owned();
    // The WAL file stays when the server is killed.
    crate::post(&mut chat.join("lobby", "Ada").await, 1, 1).await;
    chat.server.kill().await;
    let key = metadata(chat.folder.join("key")).unwrap();
    assert_eq!((key.mode() & 0o777, key.len()), (0o600, 32));
    for file in ["key", "chat.db", "chat.db-wal"] {
        let path = chat.folder.join(file);
        set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let out = run(EXE, &["localhost:0", "--data", &data], "").await;
        let error = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{file}: {error}");
        assert!(error.contains(&format!("/{file} (0644); run chmod 600 ")), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    // Kubernetes sets this mode, so it is only a warning.
    for file in ["key", "chat.db", "chat.db-wal"] {
        set_permissions(chat.folder.join(file), Permissions::from_mode(0o660)).unwrap();
    }
    chat.kill_and_restart().await;
    for file in ["key", "chat.db", "chat.db-wal"] {
        chat.server.logged(&format!("/{file} (0660); run chmod 600 ")).await;
    }
    chat.server.kill().await;
    // With an empty key, which a full disk may leave, anyone could sign.
    std::fs::write(chat.folder.join("key"), []).unwrap();
    let out = run(EXE, &["localhost:0", "--data", &data], "").await;
    let error = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{error}");
    assert!(error.contains("; remove "), "{error}");
}

#[tokio::test]
async fn the_101st_room_is_rejected_until_another_is_empty() {
    let chat = Chat::start(&["--rate", "1000"]).await;
    let mut peers = Vec::new();
    for n in 0..100 {
        let mut peer = chat.join(&format!("room-{n}"), "Ada").await;
        greeting(&mut peer).await;
        peers.push(peer);
    }
    let mut late = chat.join("one-more", "Ada").await;
    assert_eq!(late.closed().await.0, 1013);
    let mut there = chat.join("room-7", "Bob").await;
    assert_eq!(next(&mut there, "presence").await["count"], 2);
    peers.pop().unwrap().close().await;
    // The server frees the room of a closed connection, but may need some time to notice.
    let joined = async {
        loop {
            let mut peer = chat.join("one-more", "Ada").await;
            if let tungstenite::Message::Text(_) = peer.message().await {
                return peer;
            }
        }
    };
    let mut peer = soon("a room", joined).await;
    peer.send(line(1, "made it")).await;
    assert_eq!(next(&mut peer, "message").await["text"], "made it");
}

#[tokio::test]
async fn the_first_lines_say_where_it_listens_and_what_to_open() {
    let mut chat = Chat::start(OPEN).await;
    let port = chat.server.address.port();
    assert!(chat.server.url().starts_with("ws://"));
    let line = chat.server.line_with("open ").await;
    assert_eq!(line, format!("open http://localhost:{port}/ in a browser"));
}
