use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use testing::{http, run, soon};

use crate::{Chat, EXE, event, greeting, line, next, now, post, texts};

const DAY: i64 = 24 * 3600 * 1000;

fn open(folder: &Path) -> Connection {
    let path = folder.join("chat.db");
    // The server rejects a database that everyone can read.
    let mut options = std::fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.create(true).append(true).open(&path).unwrap();
    Connection::open(path).unwrap()
}

async fn ready(chat: &Chat) -> String {
    let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    http(chat.server.address, request).await
}

async fn becomes_ready(chat: &Chat) {
    soon("200", async { while !ready(chat).await.starts_with("HTTP/1.1 200 ") {} }).await;
}

async fn next_error(peer: &mut testing::Peer) -> Value {
    let error = async {
        loop {
            let event = event(peer).await;
            if event["type"] == "error" {
                return event;
            }
        }
    };
    soon("an error event", error).await
}

/// Starts a server with a file of an earlier version, in which the number of a message is its time.
async fn start_with(numbers: &[i64]) -> Chat {
    let mut chat = Chat::start(&["--rate", "1000"]).await;
    chat.server.kill().await;
    std::fs::remove_dir_all(&chat.folder).unwrap();
    std::fs::create_dir(&chat.folder).unwrap();
    let db = open(&chat.folder);
    db.execute_batch(
        "CREATE TABLE messages (number INTEGER PRIMARY KEY, room TEXT NOT NULL,
            name TEXT NOT NULL, id TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (room, name, id)) STRICT;
        CREATE INDEX by_room ON messages (room, number);",
    )
    .unwrap();
    for number in numbers {
        let insert = "INSERT INTO messages VALUES (?, 'lobby', 'Ada', 'old ' || ?1, 'old')";
        db.execute(insert, [number]).unwrap();
    }
    drop(db);
    chat.kill_and_restart().await;
    chat
}

#[tokio::test]
async fn another_program_can_read_the_messages_meanwhile() {
    let chat = Chat::start(&[]).await;
    post(&mut chat.join("lobby", "Ada").await, 1, 3).await;
    let count = open(&chat.folder).query_row("SELECT count(*) FROM messages", [], |row| row.get(0));
    assert_eq!(count, Ok(3));
}

#[tokio::test]
async fn a_backup_has_all_messages_and_reports_a_gap() {
    let mut chat = Chat::start(&["--rate", "1000"]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let last = post(&mut ada, 1, 60).await;
    let file = chat.folder.join("copy.db");
    let args = ["--data", chat.folder.to_str().unwrap(), "--backup", file.to_str().unwrap()];
    let output = run(EXE, &args, "").await;
    assert!(output.status.success(), "{output:?}");
    post(&mut ada, 61, 62).await;
    // A second backup does not replace the first.
    let output = run(EXE, &args, "").await;
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("copy.db") && message.lines().count() == 1, "{message}");

    chat.server.kill().await;
    for end in ["-wal", "-shm"] {
        _ = std::fs::remove_file(chat.folder.join(format!("chat.db{end}")));
    }
    std::fs::rename(file, chat.folder.join("chat.db")).unwrap();
    chat.kill_and_restart().await;
    // Bob has the message 60, but 61 and 62 are lost.
    let mut bob = chat.rejoin("lobby", "Bob", &format!("?since={last}")).await;
    let events = greeting(&mut bob).await;
    assert_eq!(events[1], json!({"type": "gap"}));
    assert_eq!(texts(&events).last().unwrap(), "60");
    // He does not receive the gap event again.
    let number = events[0]["number"].as_i64().unwrap();
    let mut bob = chat.rejoin("lobby", "Bob", &format!("?since={number}")).await;
    assert_eq!(greeting(&mut bob).await[1]["type"], "presence");
}

#[tokio::test]
async fn a_backup_of_no_database_is_one_error_message() {
    let folder = crate::folder();
    let file = folder.join("copy.db");
    let args = ["--data", folder.to_str().unwrap(), "--backup", file.to_str().unwrap()];
    let output = run(EXE, &args, "").await;
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("--data") && message.lines().count() == 1, "{message}");
    assert!(!folder.exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_removed_folder_rejects_messages_until_it_returns() {
    let chat = Chat::start(&[]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    greeting(&mut ada).await;
    let away = chat.folder.with_extension("away");
    std::fs::rename(&chat.folder, &away).unwrap();
    ada.send(line(1, "1")).await;
    assert_eq!(next_error(&mut ada).await["retry"], true);
    let answer = ready(&chat).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("was removed"), "{answer}");
    chat.server.logged("was removed or replaced; put it back").await;
    std::fs::rename(&away, &chat.folder).unwrap();
    becomes_ready(&chat).await;
    ada.send(line(1, "1")).await;
    assert_eq!(next(&mut ada, "message").await["text"], "1");
}

#[tokio::test]
async fn a_failing_database_rejects_messages_until_it_works() {
    let chat = Chat::start(&["--rate", "1000"]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let mut bob = chat.join("lobby", "Bob").await;
    post(&mut ada, 1, 1).await;
    open(&chat.folder).execute("ALTER TABLE messages RENAME TO away", []).unwrap();
    // Each of these would be too many rejected messages for one connection.
    for _ in 0..30 {
        ada.send(line(2, "2")).await;
        let error = next_error(&mut ada).await;
        let expected = "the message could not be stored or read; try again later";
        assert_eq!(error, json!({"type": "error", "id": "2", "message": expected, "retry": true}));
    }
    let answer = ready(&chat).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("The database failed: no such table"), "{answer}");
    ada.send(json!({"before": 1}).to_string()).await;
    assert_eq!(next_error(&mut ada).await["retry"], true);
    // A client that cannot receive its history must not believe that it has all of it.
    assert_eq!(chat.join("lobby", "Eve").await.closed().await.0, 1013);
    chat.server.logged("the database failed").await;
    assert_eq!(chat.server.log().matches("the database failed").count(), 1);

    open(&chat.folder).execute("ALTER TABLE away RENAME TO messages", []).unwrap();
    becomes_ready(&chat).await;
    ada.send(line(2, "2")).await;
    // Bob stayed connected.
    while next(&mut bob, "message").await["text"] != "2" {}
    chat.server.logged("the database works again").await;
}

/// A limit for the size of files stands for a full disk, because the test cannot fill one.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_loses_no_acknowledged_message() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    let mut chat = Chat::start(&["--rate", "100000"]).await;
    chat.server.kill().await;
    // Without this trap, the limit would end the program.
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", r#"trap "" XFSZ; exec "$0" localhost:0 --rate 100000 --data "$1""#, EXE]);
    chat.server = testing::Program::start_command(shell.arg(&chat.folder)).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let mut last = post(&mut ada, 1, 10).await;
    let first = last;
    let limit = |current: Option<u64>| {
        let pid = Pid::from_raw(chat.server.pid() as i32);
        prlimit(pid, Resource::Fsize, Rlimit { current, maximum: None }).unwrap();
    };
    let length = std::fs::metadata(chat.folder.join("chat.db-wal")).unwrap().len();
    limit(Some(length + 100_000));
    let mut acknowledged = 10;
    let refused = loop {
        let text = (acknowledged + 1).to_string();
        ada.send(line(&text, &text)).await;
        let answer = event(&mut ada).await;
        match answer["type"].as_str().unwrap() {
            "message" => {
                acknowledged += 1;
                last = answer["number"].as_i64().unwrap();
            }
            "error" => break answer,
            _ => {}
        }
    };
    assert_eq!(
        (&refused["id"], &refused["retry"]),
        (&json!((acknowledged + 1).to_string()), &json!(true))
    );
    assert!(ready(&chat).await.starts_with("HTTP/1.1 503 "));
    // The database can still be read.
    let mut bob = chat.rejoin("lobby", "Bob", &format!("?since={first}")).await;
    let expected: Vec<_> = (11..=acknowledged).map(|n| n.to_string()).collect();
    assert_eq!(texts(&greeting(&mut bob).await), expected);
    limit(None);
    becomes_ready(&chat).await;
    let text = (acknowledged + 1).to_string();
    ada.send(line(&text, &text)).await;
    assert_eq!(next(&mut ada, "message").await["text"], text);
    chat.kill_and_restart().await;
    let mut bob = chat.rejoin("lobby", "Bob", &format!("?since={last}")).await;
    assert_eq!(texts(&greeting(&mut bob).await), [text]);
}

#[tokio::test]
async fn a_wrong_clock_deletes_no_message() {
    let start = now() - 30 * DAY;
    let chat = start_with(&[start, start + 1, start + 2]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    greeting(&mut ada).await;
    post(&mut ada, 1, 1).await;
    let mut bob = chat.rejoin("lobby", "Bob", &format!("?since={start}")).await;
    let events = greeting(&mut bob).await;
    assert_eq!(texts(&events), ["old", "old", "1"]);
    assert!(!events.contains(&json!({"type": "gap"})));
}

#[tokio::test]
async fn the_time_is_right_after_a_clock_was_ahead() {
    let ahead = now() + 30 * DAY;
    let chat = start_with(&[ahead]).await;
    let before = now();
    let mut ada = chat.join("lobby", "Ada").await;
    greeting(&mut ada).await;
    ada.send(line(1, "1")).await;
    let message = next(&mut ada, "message").await;
    assert_eq!(message["number"], ahead + 1);
    let time = message["time"].as_i64().unwrap();
    assert!((before..=now()).contains(&time), "{message}");
}

#[tokio::test]
async fn deleted_messages_are_a_gap_until_the_last_one() {
    let mut chat = Chat::start(&["--rate", "1000"]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let first = post(&mut ada, 1, 1).await;
    let second = post(&mut ada, 2, 2).await;
    let last = post(&mut ada, 3, 3).await;
    open(&chat.folder).execute("DELETE FROM messages WHERE number <= ?", [second]).unwrap();
    for _ in 0..2 {
        for (since, expected) in [(first, ["gap", "message"]), (second, ["message", "presence"])] {
            let mut bob = chat.rejoin("lobby", "Bob", &format!("?since={since}")).await;
            let events = greeting(&mut bob).await;
            assert_eq!([&events[1]["type"], &events[2]["type"]], expected, "{since}");
        }
        chat.kill_and_restart().await;
    }
    // No number comes again, even if no message is left.
    open(&chat.folder).execute("DELETE FROM messages", []).unwrap();
    chat.kill_and_restart().await;
    let mut ada = chat.join("lobby", "Ada").await;
    assert!(greeting(&mut ada).await[0]["number"].as_i64().unwrap() >= last);
}

#[tokio::test]
async fn an_id_with_another_text_is_an_error() {
    let chat = Chat::start(&["--rate", "1000"]).await;
    let mut ada = chat.join("lobby", "Ada").await;
    let mut bob = chat.join("lobby", "Bob").await;
    post(&mut ada, 1, 1).await;
    ada.send(line(1, "another text")).await;
    let error = next_error(&mut ada).await;
    let message = "this id belongs to an earlier message with another text; use a new id";
    let expected = json!({"type": "error", "id": "1", "message": message, "retry": false});
    assert_eq!(error, expected);
    ada.send(line(2, "2")).await;
    for text in ["1", "2"] {
        assert_eq!(next(&mut bob, "message").await["text"], text);
    }
}

#[tokio::test]
async fn older_messages_come_fifty_at_a_time() {
    let chat = Chat::start(&["--rate", "1000"]).await;
    post(&mut chat.join("cellar", "Eve").await, 1, 10).await;
    let mut ada = chat.join("lobby", "Ada").await;
    post(&mut ada, 1, 120).await;
    let mut bob = chat.join("lobby", "Bob").await;
    let events = greeting(&mut bob).await;
    let mut messages: Vec<_> = events.into_iter().filter(|e| e["type"] == "message").collect();
    assert_eq!(messages.len(), 50);
    for expected in [50, 20, 0] {
        let before = messages[0]["number"].as_i64().unwrap();
        bob.send(json!({"before": before}).to_string()).await;
        let older = next(&mut bob, "older").await;
        let older = older["messages"].as_array().unwrap();
        assert_eq!(older.len(), expected);
        messages.splice(0..0, older.iter().cloned());
    }
    let received: Vec<_> = messages.iter().map(|message| message["text"].clone()).collect();
    let expected: Vec<_> = (1..=120).map(|n| json!(n.to_string())).collect();
    assert_eq!(received, expected);
    assert!(messages.iter().all(|message| message["name"] == "Ada" && message["time"].is_i64()));
}
