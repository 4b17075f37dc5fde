//! Lines in, lines out, and the exit status.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use testing::{limit, soon};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, Utf8Bytes};

use crate::{Server, accept, converse, ended, listen, start};

async fn next_message(socket: &mut Server) -> Message {
    soon("a message", socket.next()).await.unwrap().unwrap()
}

/// Closes with this code, and waits until the client has closed the connection.
async fn close(socket: &mut Server, code: u16, reason: &'static str) {
    let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::from_static(reason) };
    socket.close(Some(frame)).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
}

#[tokio::test]
async fn each_line_is_a_message_in_both_directions() {
    let (output, ()) = converse(&[], "Ada\r\n\nZo\u{eb} without an end", async |socket| {
        for line in ["Ada", "", "Zo\u{eb} without an end"] {
            assert_eq!(next_message(socket).await, Message::text(line));
        }
        for message in [
            Message::text("Hello Ada!"),
            Message::text("\u{1b}[2Jgone\ntwo"),
            Message::binary(vec![0, 0x81, 0xff]),
            Message::text(""),
        ] {
            socket.send(message).await.unwrap();
        }
        close(socket, 1000, "").await;
    })
    .await;
    let lines = "< Hello Ada!\n< \\u{1b}[2Jgone\\ntwo\n< 3 bytes: 00 81 ff\n< \n";
    assert_eq!(ended(&output), (Some(0), lines, "closed by the server: 1000, OK\n"));
}

#[tokio::test]
async fn the_exit_status_tells_a_clean_close_from_another() {
    for (code, reason, status, says) in [
        (1000, "", 0, "closed by the server: 1000, OK\n"),
        (1001, "", 0, "closed by the server: 1001, going away\n"),
        (1003, "", 1, "closed by the server: 1003, unsupported data\n"),
        (1008, "no\u{1b}", 1, "closed by the server: 1008, policy violation: no\\u{1b}\n"),
        (1011, "", 1, "closed by the server: 1011, internal error\n"),
        (4000, "bye", 1, "closed by the server: 4000, private use: bye\n"),
    ] {
        let flags = ["--wait", "20"];
        let (output, ()) =
            converse(&flags, "", async |socket| close(socket, code, reason).await).await;
        assert_eq!(ended(&output), (Some(status), "", says));
    }
    let (output, ()) = converse(&["--wait", "20"], "", async |socket| {
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    assert_eq!(ended(&output), (Some(0), "", "closed by the server: no code\n"));
}

#[tokio::test]
async fn a_close_frame_counts_before_tcp_ends() {
    for (code, says) in [(1011, "internal error: because"), (1014, "bad gateway: because")] {
        for input_is_open in [false, true] {
            let (listener, url) = listen().await;
            let mut talk = start(&[&url, "--wait", "5"]);
            let input = talk.stdin.take().filter(|_| input_is_open);
            let mut socket = accept(&listener).await;
            let payload = [&u16::to_be_bytes(code), &b"because"[..]].concat();
            let frame = [&[0x88, payload.len() as u8], payload.as_slice()].concat();
            socket.get_mut().write_all(&frame).await.unwrap();
            // The server keeps the connection until talk has ended.
            let output = soon("the end", talk.wait_with_output()).await.unwrap();
            let says = format!("closed by the server: {code}, {says}\n");
            assert_eq!(ended(&output), (Some(1), "", says.as_str()));
            drop((socket, input));
        }
    }
}

#[tokio::test]
async fn another_code_than_ours_is_reported() {
    for flags in [&["--wait", "0"][..], &["--wait", "0", "--reconnect"]] {
        let (output, ()) = converse(flags, "", async |socket| {
            let mut close = [0; 8];
            socket.get_mut().read_exact(&mut close).await.unwrap();
            socket.get_mut().write_all(b"\x88\x02\x03\xf3").await.unwrap();
        })
        .await;
        assert_eq!(ended(&output), (Some(1), "", "closed by the server: 1011, internal error\n"));
    }
}

#[tokio::test]
async fn a_failed_connection_exits_1_with_one_line() {
    let url = format!("ws://127.0.0.1:{}", testing::free_port());
    let output = testing::run(crate::EXE, &[&url], "").await;
    let says = format!("cannot connect to {url}: connection refused; start the server first\n");
    assert_eq!(ended(&output), (Some(1), "", says.as_str()));

    let (output, ()) = converse(&[], "Ada\n", async |socket| _ = next_message(socket).await).await;
    let (status, _, says) = ended(&output);
    assert!(says.contains("closed the connection without a close frame"), "{says}");
    assert_eq!((status, says.lines().count()), (Some(1), 1));

    let (output, code) = converse(&["--max-size", "10"], "Ada\n", async |socket| {
        next_message(socket).await;
        socket.send(Message::text("12345678901")).await.unwrap();
        next_message(socket).await
    })
    .await;
    let (status, _, says) = ended(&output);
    assert!(says.contains("sent a message of 11 bytes, but the limit is 10"), "{says}");
    assert!(says.ends_with("; let it send smaller messages, or raise --max-size\n"), "{says}");
    assert_eq!(status, Some(1));
    assert!(matches!(code, Message::Close(Some(CloseFrame { code: CloseCode::Size, .. }))));
}

#[tokio::test]
async fn after_its_input_talk_waits_then_closes_1000() {
    let (output, (code, took)) = converse(&["--wait", "1.5"], "Ada\n", async |socket| {
        next_message(socket).await;
        // Each pause is shorter than the wait, but all pauses together are longer.
        for n in 0..4 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            socket.send(Message::text(n.to_string())).await.unwrap();
        }
        let last = Instant::now();
        (next_message(socket).await, last.elapsed().as_secs_f64())
    })
    .await;
    assert_eq!(ended(&output), (Some(0), "< 0\n< 1\n< 2\n< 3\n", "closed: 1000, OK\n"));
    assert!(matches!(code, Message::Close(Some(CloseFrame { code: CloseCode::Normal, .. }))));
    assert!((1.4..10.0).contains(&took), "{took}");
}

#[tokio::test]
async fn open_input_keeps_the_connection_open_when_idle() {
    let (listener, url) = listen().await;
    let mut talk = start(&[&url, "--wait", "0"]);
    let mut socket = accept(&listener).await;
    let mut input = talk.stdin.take().unwrap();
    let mut output = BufReader::new(talk.stdout.take().unwrap()).lines();
    for line in ["one", "two"] {
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        assert_eq!(next_message(&mut socket).await, Message::text(line));
        socket.send(Message::text(line)).await.unwrap();
        let printed = soon("a line", output.next_line()).await.unwrap();
        assert_eq!(printed, Some(format!("< {line}")));
    }
    drop(input);
    assert!(matches!(next_message(&mut socket).await, Message::Close(_)));
    while let Some(Ok(_)) = socket.next().await {}
    drop(socket);
    assert!(soon("the end", talk.wait()).await.unwrap().success());
}

#[tokio::test]
async fn an_echo_larger_than_all_buffers_arrives_whole() {
    // Neither side may wait until the other side reads.
    let lines = format!("{}\n", "x".repeat(50_000)).repeat(400);
    let (output, ()) = converse(&["--wait", "20"], &lines, async |socket| {
        for _ in 0..400 {
            // If this fails, the output of talk shows it.
            let Some(Ok(line)) = socket.next().await else { return };
            _ = socket.send(line).await;
        }
        close(socket, 1000, "").await;
    })
    .await;
    let (status, stdout, said) = ended(&output);
    assert_eq!((status, said), (Some(0), "closed by the server: 1000, OK\n"));
    assert_eq!(stdout.lines().count(), 400);
    assert!(stdout.lines().all(|line| line.len() == 50_002));
}

#[tokio::test]
async fn an_input_in_invalid_utf8_closes_with_1000() {
    for flags in [&[][..], &["--reconnect"]] {
        let (output, code) = converse(flags, b"Ada\nJos\xe9\n", async |socket| {
            assert_eq!(next_message(socket).await, Message::text("Ada"));
            next_message(socket).await
        })
        .await;
        let (status, _, says) = ended(&output);
        assert!(says.starts_with("line 2 of the input is not valid UTF-8"), "{says}");
        assert_eq!((status, says.lines().count()), (Some(1), 1), "{says}");
        assert!(matches!(code, Message::Close(Some(CloseFrame { code: CloseCode::Normal, .. }))));
    }
}

#[tokio::test]
async fn talk_closes_when_its_output_is_unread() {
    let (listener, url) = listen().await;
    let mut talk = start(&[&url]);
    let mut socket = accept(&listener).await;
    drop(talk.stdout.take());
    let closed = loop {
        socket.send(Message::text("anybody?")).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_millis(10), socket.next()).await;
        if let Ok(message) = answer {
            break message;
        }
    };
    assert!(matches!(closed, Some(Ok(Message::Close(Some(_))))), "{closed:?}");
    while let Some(Ok(_)) = socket.next().await {}
    drop(socket);
    assert!(soon("the end", talk.wait()).await.unwrap().success());
}

#[tokio::test]
async fn a_slow_reader_loses_nothing() {
    let (listener, url) = listen().await;
    let mut talk = start(&[&url, "--wait", "20"]);
    let mut socket = accept(&listener).await;
    drop(talk.stdin.take());
    let sent = tokio::spawn(async move {
        for n in 0..20_000 {
            socket.feed(Message::text(format!("{n:3000}"))).await.unwrap();
        }
        close(&mut socket, 1000, "").await;
    });
    // This is far longer than it takes to fill every buffer on the way.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!sent.is_finished());
    let output = soon("the end", talk.wait_with_output()).await.unwrap();
    let (status, stdout, _) = ended(&output);
    assert_eq!((status, stdout.lines().count()), (Some(0), 20_000));
    soon("the server", sent).await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_of_one_large_message_loses_nothing() {
    let (listener, url) = listen().await;
    let mut talk = start(&[&url]);
    let mut socket = accept(&listener).await;
    let message = "x".repeat(1 << 20);
    socket.send(Message::text(message.as_str())).await.unwrap();
    close(&mut socket, 1000, "").await;
    // This takes longer than talk waits for a reader that reads nothing.
    let mut stdout = talk.stdout.take().unwrap();
    let mut printed: Vec<u8> = Vec::new();
    let mut part = vec![0; 64 << 10];
    loop {
        tokio::time::sleep(Duration::from_millis(400)).await;
        match soon("a part", stdout.read(&mut part)).await.unwrap() {
            0 => break,
            length => printed.extend(&part[..length]),
        }
    }
    let output = soon("the end", talk.wait_with_output()).await.unwrap();
    assert_eq!(ended(&output), (Some(0), "", "closed by the server: 1000, OK\n"));
    assert!(printed == format!("< {message}\n").into_bytes(), "{} bytes", printed.len());
}

fn lost_messages(line: &str) -> Option<usize> {
    line.strip_prefix("messages lost, because nothing read the output: ")?.parse().ok()
}

#[tokio::test]
async fn pings_are_answered_while_nobody_reads_stdout() {
    let (listener, url) = listen().await;
    let talk = start(&[&url, "--wait", "0", "--ping-interval", "0"]);
    let mut socket = accept(&listener).await;
    let mut sent = 0;
    // First the messages only wait to be printed, then the queue of 16 MiB is full, and then they
    // are lost.
    for messages in [3000, 20_000, 1000] {
        for _ in 0..messages {
            socket.feed(Message::text("x".repeat(1000))).await.unwrap();
        }
        sent += messages;
        socket.send(Message::Ping("still there?".into())).await.unwrap();
        assert_eq!(next_message(&mut socket).await, Message::Pong("still there?".into()));
    }
    let close = async { while let Some(Ok(_)) = socket.next().await {} };
    let (output, ()) =
        soon("the end", async { tokio::join!(talk.wait_with_output(), close) }).await;
    let output = output.unwrap();
    let (status, stdout, said) = ended(&output);
    let lost: usize = said.lines().filter_map(lost_messages).sum();
    assert_eq!((status, stdout.lines().count() + lost), (Some(0), sent), "{lost} of {sent}");
    assert!(lost > 0);
}

#[tokio::test]
async fn talk_ends_although_nothing_reads_its_output() {
    let (listener, url) = listen().await;
    let mut talk = start(&[&url, "--wait", "0"]);
    let mut socket = accept(&listener).await;
    for _ in 0..1000 {
        socket.feed(Message::text("x".repeat(1000))).await.unwrap();
    }
    close(&mut socket, 1000, "").await;
    drop(socket);
    let ten_seconds = limit(Duration::from_secs(10));
    let status = tokio::time::timeout(ten_seconds, talk.wait()).await.unwrap().unwrap();
    assert!(status.success());
    let output = talk.wait_with_output().await.unwrap();
    let (_, stdout, said) = ended(&output);
    let lost = said.lines().last().and_then(lost_messages).unwrap();
    let printed = stdout.lines().filter(|line| line.len() == 1002).count();
    assert_eq!(printed + lost, 1000, "{lost} are lost");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_exits_1_with_one_line() {
    let (listener, url) = listen().await;
    let script = "exec \"$0\" \"$@\" >/dev/full";
    let server = async {
        let mut socket = accept(&listener).await;
        socket.send(Message::text("news")).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    };
    let arguments = ["-c", script, crate::EXE, &url];
    let (output, ()) = tokio::join!(testing::run("sh", &arguments, ""), server);
    let (status, _, said) = ended(&output);
    assert!(said.contains("cannot write to stdout (No space left on device"), "{said}");
    assert_eq!(status, Some(1));
}

#[tokio::test]
async fn raw_messages_are_printed_unchanged() {
    for (delimiter, end) in [("newline", "\n"), ("nul", "\0"), ("none", "")] {
        let flags = ["--raw", "--delimiter", delimiter];
        let (output, ()) = converse(&flags, "", async |socket| {
            for message in ["{\"a\": 1}", "\u{1b}[2J\ntwo"] {
                socket.send(Message::text(message)).await.unwrap();
            }
            socket.send(Message::binary(vec![b'\n', 1, 0x7f])).await.unwrap();
            close(socket, 1000, "").await;
        })
        .await;
        let lines = format!("{{\"a\": 1}}{end}\u{1b}[2J\ntwo{end}\n\u{1}\u{7f}");
        assert_eq!(ended(&output), (Some(0), lines.as_str(), "closed by the server: 1000, OK\n"));
    }
}

#[tokio::test]
async fn the_delimiter_ends_each_message() {
    for (flags, input, expected) in [
        (&["--delimiter", "nul"][..], "{\n1}\0two\r\n\0", vec!["{\n1}", "two\r\n"]),
        (&["--delimiter", "none"], "{\n1}\0two\r\n", vec!["{\n1}\0two\r\n"]),
    ] {
        let (output, ()) = converse(flags, input, async |socket| {
            for message in expected {
                assert_eq!(next_message(socket).await, Message::text(message));
            }
            assert!(next_message(socket).await.is_close());
        })
        .await;
        assert_eq!(ended(&output), (Some(0), "", "closed: 1000, OK\n"));
    }
}

#[tokio::test]
async fn an_empty_input_is_no_message() {
    for delimiter in ["newline", "nul", "none"] {
        let flags = ["--delimiter", delimiter];
        let (output, first) = converse(&flags, "", async |socket| next_message(socket).await).await;
        assert!(first.is_close(), "{first:?}");
        assert_eq!(ended(&output), (Some(0), "", "closed: 1000, OK\n"));
    }
}

#[tokio::test]
async fn the_close_frame_can_be_chosen() {
    let flags = ["--wait", "0", "--close", "4001:see: you"];
    let (output, last) = converse(&flags, "", async |socket| next_message(socket).await).await;
    let said = "closed: 4001, private use: see: you\n";
    assert_eq!(ended(&output), (Some(0), "", said));
    let frame = CloseFrame { code: 4001.into(), reason: "see: you".into() };
    assert_eq!(last, Message::Close(Some(frame)));

    for (close, says) in [("1006", "give 1000, 1001, or"), ("x", "give 1000")] {
        let output = testing::run(crate::EXE, &["ws://localhost", "--close", close], "").await;
        let (status, _, said) = ended(&output);
        assert!(said.contains(says), "{said}");
        assert_eq!(status, Some(2));
    }
}

#[tokio::test]
async fn binary_messages_are_sent() {
    let (output, ()) = converse(&["--binary"], b"\xff\0\nAda\n", async |socket| {
        for message in [&b"\xff\0"[..], b"Ada"] {
            assert_eq!(next_message(socket).await, Message::binary(message));
        }
        close(socket, 1000, "").await;
    })
    .await;
    assert_eq!(ended(&output).0, Some(0));
}

#[tokio::test]
async fn with_time_each_line_has_the_time() {
    let (output, ()) = converse(&["--time"], "", async |socket| {
        socket.send(Message::text("tick")).await.unwrap();
        close(socket, 1000, "").await;
    })
    .await;
    let (_, stdout, stderr) = ended(&output);
    for line in [stdout, stderr] {
        let (time, _) = line.split_once(' ').unwrap();
        let digits: String =
            time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(digits, "00:00:00.000Z", "{line}");
    }
    assert!(stdout.ends_with("Z < tick\n"), "{stdout}");
}

#[tokio::test]
async fn pongs_do_not_prolong_the_wait_for_a_message() {
    let flags = ["--ping", "--ping-interval", "0.1", "--wait", "1"];
    let (output, ()) =
        converse(&flags, "", async |socket| while socket.next().await.is_some() {}).await;
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn with_ping_each_pong_prints_its_round_trip_time() {
    let (output, ()) = converse(&["--ping", "--ping-interval", "0.1"], "", async |socket| {
        // The third ping shows that talk has seen the second pong.
        for _ in 0..3 {
            assert_eq!(next_message(socket).await, Message::Ping("".into()));
            socket.flush().await.unwrap();
        }
        close(socket, 1000, "").await;
    })
    .await;
    let (status, stdout, stderr) = ended(&output);
    let is_pong = |line: &&str| line.starts_with("pong after ") && line.ends_with(" ms");
    assert!(stderr.lines().filter(is_pong).count() >= 2, "{stderr}");
    assert_eq!((status, stdout), (Some(0), ""));
}

#[tokio::test]
async fn with_time_the_end_shows_the_latency() {
    let flags = ["--time", "--ping-interval", "0.1"];
    let (output, ()) = converse(&flags, "", async |socket| {
        let ping = next_message(socket).await;
        assert_eq!(ping, Message::Ping("".into()));
        // The flush sends the pong.
        tokio::time::sleep(Duration::from_millis(30)).await;
        socket.flush().await.unwrap();
        close(socket, 1000, "").await;
    })
    .await;
    let (status, _, said) = ended(&output);
    assert_eq!(status, Some(0));
    let latency = said.split_once("latency of the last ping: ").unwrap().1;
    let latency: f64 = latency.split_once(" ms").unwrap().0.parse().unwrap();
    assert!((25.0..5_000.0).contains(&latency), "{said}");
}
