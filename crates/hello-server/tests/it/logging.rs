use std::time::Instant;

use common::log::LINES_PER_SECOND;
use testing::{HANDSHAKE, Peer, Program, Raw, frame, http};

use crate::start;

/// Has a successful conversation, so that the log lines of all earlier ones are written.
async fn settle(server: &Program) {
    let mut peer = Peer::connect(&server.url()).await;
    peer.send("Ada").await;
    peer.text().await;
    peer.closed().await;
}

#[tokio::test]
async fn each_client_fault_logs_one_line_without_quotes() {
    let server = start(&["--open-timeout", "0.5", "--max-size", "1000"]).await;
    // Each of these peers puts `secret` wherever it can.
    let faults = [
        (frame(0x82, "secret"), "closed with 1003"),
        (frame(0xc1, "secret"), "closed with 1002"),
        (frame(0x83, "secret"), "closed with 1002"),
        (frame(0x09, "secret"), "closed with 1002"),
        (frame(0x80, "secret"), "closed with 1002"),
        ([&[0x81, 6], b"secret".as_slice()].concat(), "closed with 1002"),
        ([frame(0x01, "secret"), frame(0x81, "secret")].concat(), "closed with 1002"),
        (frame(0x81, b"secret\xff"), "closed with 1007"),
        (frame(0x88, b"\x03\xe8secret\xff"), "closed with 1007"),
        ([frame(0x01, b"secret\xf0\x9f"), frame(0x80, "")].concat(), "closed with 1007"),
        (frame(0x81, "secret".repeat(200)), "closed with 1009"),
    ];
    let requests = [
        ("secret\r\n\r\n".to_owned(), "bad HTTP request: "),
        (format!("GET /secret HTTP/1.1\r\nX: {}", "secret".repeat(9000)), "bad HTTP request: "),
        (HANDSHAKE.replace("AAAA", "secret"), "WebSocket request rejected: 400"),
        (HANDSHAKE.replace("Version: 13", "Version: secret"), "WebSocket request rejected: 426"),
        ("\x16\x03\x01secret".to_owned(), "a TLS client on a plain port"),
        ("GET /secret HTTP/1.1\r\n".to_owned(), "no complete handshake"),
    ];
    let mut expected = Vec::new();
    for (bytes, line) in faults {
        let mut raw = Raw::open(server.address).await;
        raw.write(bytes).await;
        raw.close_code().await.unwrap();
        expected.push(line);
    }
    for (request, line) in requests {
        http(server.address, &request).await;
        expected.push(line);
    }
    settle(&server).await;
    let log = server.log_of(expected.len()).await;
    assert_eq!(log.lines().count(), expected.len(), "{log}");
    // They end in the order in which they connected, but two log lines may change places.
    for line in expected {
        assert!(log.contains(line), "no {line:?} in {log}");
    }
    for quoted in ["secret", "\u{fffd}", "buffer: ["] {
        assert!(!log.contains(quoted), "{quoted} in {log}");
    }
    assert!(log.lines().all(|line| line.contains("connection{peer=127.0.0.1:")), "{log}");
}

#[tokio::test]
async fn what_is_no_fault_is_no_line() {
    let server = start(&[]).await;
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: x\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        http(server.address, request).await;
    }
    let mut leaves = Raw::open(server.address).await;
    leaves.frame(0x88, [3, 0xe9]).await;
    leaves.rest().await;
    settle(&server).await;
    assert_eq!(server.log(), "");
}

#[tokio::test]
async fn a_logged_origin_is_escaped_and_shortened() {
    let server = start(&[]).await;
    // Headers may have bytes over 127: in UTF-8, a terminal's control sequence begins with
    // U+009B too, and U+202E turns the line around. A tab is the one control that HTTP allows.
    let origin = "http://\u{9b}2J\u{202e}gro.elpmaxe\t\u{85}forged=\"line\"";
    let foreign = |origin: &str| HANDSHAKE.replace("Host:", &format!("Origin: {origin}\r\nHost:"));
    assert!(http(server.address, &foreign(origin)).await.starts_with("HTTP/1.1 403 "));
    let long = format!("http://{}.example", "long".repeat(3000));
    assert!(http(server.address, &foreign(&long)).await.starts_with("HTTP/1.1 403 "));
    // A header must not contain characters that move the cursor.
    assert!(http(server.address, &foreign("\u{1b}[2J")).await.starts_with("HTTP/1.1 400 "));
    server.logged("bad HTTP request: ").await;

    let log = server.log_of(3).await;
    let escaped =
        r#"403 Forbidden (origin: http://\u{9b}2J\u{202e}gro.elpmaxe\t\u{85}forged="line")"#;
    assert!(log.contains(escaped), "{log}");
    assert_eq!(log.lines().count(), 3, "{log}");
    assert!(log.chars().all(|c| c == '\n' || !c.is_control()), "{log:?}");
    assert!(log.contains("http://longlong"), "{log}");
    assert!(log.lines().all(|line| line.len() < 500), "{log}");
}

#[tokio::test]
async fn the_log_rate_is_limited() {
    let server = start(&[]).await;
    let began = Instant::now();
    let mut attacks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let address = server.address;
        attacks.spawn(async move {
            for _ in 0..100 {
                if n % 2 == 0 {
                    http(address, "junk\r\n\r\n").await;
                } else {
                    let mut raw = Raw::open(address).await;
                    raw.frame(0xff, "").await;
                    assert_eq!(raw.close_code().await, Some(1002));
                }
            }
        });
    }
    attacks.join_all().await;
    settle(&server).await;
    let log = server.log_of(LINES_PER_SECOND as usize).await;
    // A second that has begun counts, and in each second one more line has the number of lines left
    // out.
    let seconds = began.elapsed().as_secs() as usize + 2;
    let lines = log.lines().count();
    assert!(lines <= seconds * (LINES_PER_SECOND as usize + 1), "{lines} in {seconds} s");
    // When there is room again, the number of lines left out is logged.
    let told = async {
        while !server.log().contains("log lines were left out") {
            http(server.address, "junk\r\n\r\n").await;
        }
    };
    testing::soon("the number of lines left out", told).await;
}

#[tokio::test]
async fn colours_are_for_terminals_or_on_request() {
    for (variables, is_coloured) in
        [(&[][..], false), (&[("CLICOLOR_FORCE", "1")], true), (&[("CLICOLOR", "1")], false)]
    {
        let mut command = tokio::process::Command::new(crate::EXE);
        command.arg("localhost:0").env_remove("NO_COLOR").envs(variables.iter().copied());
        let server = Program::start_command(&mut command).await;
        http(server.address, "junk\r\n\r\n").await;
        server.logged("bad HTTP request: ").await;
        assert_eq!(server.log().contains('\u{1b}'), is_coloured, "{variables:?}");
    }
}

/// `script` is a terminal, and its output has both outputs of the server.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_color_and_clicolor_turn_colours_off() {
    for (variables, is_coloured) in [
        (&[][..], true),
        (&[("NO_COLOR", "1")], false),
        (&[("NO_COLOR", "")], true),
        (&[("CLICOLOR", "0")], false),
        (&[("TERM", "dumb")], false),
    ] {
        let mut command = tokio::process::Command::new("script");
        let server = format!("{} localhost:0", crate::EXE);
        command.args(["--quiet", "--flush", "--command", &server, "/dev/null"]);
        // With CI set, every terminal counts as one with colours.
        command.env("TERM", "xterm").env_remove("CI").env_remove("NO_COLOR");
        command.envs(variables.iter().copied());
        let mut server = Program::start_command(&mut command).await;
        http(server.address, "junk\r\n\r\n").await;
        let line = server.line_with("open ").await;
        assert!(!line.contains('\u{1b}'));
        let logged = server.line().await.unwrap();
        assert!(logged.contains("bad HTTP request: "), "{logged}");
        assert_eq!(logged.contains('\u{1b}'), is_coloured, "{variables:?}: {logged:?}");
    }
}
