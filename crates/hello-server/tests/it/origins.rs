use testing::{HANDSHAKE, Peer, Program, http, run};

use crate::{EXE, start};

/// The answer to a page of `origin` that asks this `Host`.
async fn answer(server: &Program, host: &str, origin: &str) -> String {
    let lines = format!("Host: {host}\r\nOrigin: {origin}");
    let request = HANDSHAKE.replace("Host: localhost", &lines);
    let mut raw = testing::Raw::connect(server.address).await;
    raw.write(request).await;
    let head = raw.head().await;
    // A client that was accepted continues.
    if head.starts_with("HTTP/1.1 101 ") {
        head
    } else {
        head + &String::from_utf8_lossy(&raw.rest().await)
    }
}

#[tokio::test]
async fn clients_without_origin_and_local_pages_are_allowed() {
    let server = start(&[]).await;
    Peer::connect(&server.url()).await;
    for origin in [
        "http://localhost",
        "http://localhost:6789",
        "https://LOCALHOST:1",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
    ] {
        assert!(Peer::connect_from(&server.url(), origin).await.is_ok(), "{origin}");
    }
}

#[tokio::test]
async fn foreign_pages_get_403_with_any_host_header() {
    let server = start(&[]).await;
    for origin in [
        "null",
        "https://example.com",
        "http://localhost.example.com",
        "http://example.com:80",
        "http://localhost@example.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.2",
        "ftp://localhost",
        "localhost",
        "file://",
        "http://localhost, http://example.com",
    ] {
        let refused = Peer::connect_from(&server.url(), origin).await;
        assert_eq!(refused.err(), Some(403), "{origin}");
    }
    let rebound =
        HANDSHAKE.replace("Host: localhost", "Host: example.com\r\nOrigin: http://example.com");
    assert!(http(server.address, &rebound).await.starts_with("HTTP/1.1 403 "));
    let twice = HANDSHAKE.replace("Host:", "Origin: null\r\nOrigin: http://example.com\r\nHost:");
    assert!(http(server.address, &twice).await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn allow_origin_allows_only_the_given_origins() {
    let server = start(&[
        "--allow-origin",
        "https://example.com",
        "--allow-origin",
        "https://www.example.com:8443",
    ])
    .await;
    for origin in ["https://example.com", "https://www.example.com:8443"] {
        assert!(Peer::connect_from(&server.url(), origin).await.is_ok(), "{origin}");
    }
    for origin in ["http://localhost", "null", "http://example.com", "https://example.com:1"] {
        let refused = Peer::connect_from(&server.url(), origin).await;
        assert_eq!(refused.err(), Some(403), "{origin}");
    }
    assert!(http(server.address, HANDSHAKE).await.starts_with("HTTP/1.1 403 "));

    let server = start(&["--allow-origin", "https://example.com", "--allow-origin", ""]).await;
    Peer::connect(&server.url()).await;
}

#[tokio::test]
async fn a_page_opened_by_address_is_allowed() {
    let server = Program::start(EXE, &["0.0.0.0:0"]).await;
    for (host, origin) in [
        ("192.0.2.7:6789", "http://192.0.2.7:6789"),
        ("192.0.2.7", "https://192.0.2.7"),
        ("[2001:db8::7]:6789", "http://[2001:db8::7]:6789"),
        ("[2001:DB8::7]:6789", "http://[2001:db8::7]:6789"),
    ] {
        let answer = answer(&server, host, origin).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{host} {origin}: {answer}");
    }
    for (host, origin) in [
        // From another server, or another port of this one.
        ("192.0.2.7:6789", "http://192.0.2.8:6789"),
        ("192.0.2.7:6789", "http://192.0.2.7:80"),
        ("192.0.2.7:6789", "http://192.0.2.7"),
        ("[2001:db8::7]:6789", "http://[2001:db8::8]:6789"),
        // These are names, and an attacker could rebind a name to another address.
        ("example.com:6789", "http://example.com:6789"),
        ("192.0.2.7.example.com", "http://192.0.2.7.example.com"),
        ("0x7f000002", "http://0x7f000002"),
        ("127.2", "http://127.2"),
        // No origin that a browser sends.
        ("192.0.2.7:6789", "http://192.0.2.7:6789/"),
        ("192.0.2.7:6789", "http://user@192.0.2.7:6789"),
        ("192.0.2.7:6789", "ftp://192.0.2.7:6789"),
        ("192.0.2.7:6789", "192.0.2.7:6789"),
    ] {
        let answer = answer(&server, host, origin).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host} {origin}: {answer}");
    }
}

#[tokio::test]
async fn the_page_at_the_announced_address_is_allowed() {
    // A name that every Linux and Windows machine has for itself, and no address.
    let name = run("hostname", &[], "").await;
    let name = String::from_utf8(name.stdout).unwrap().trim().to_owned();
    let address = format!("{name}:0");
    let started = run(EXE, &[&address, "--help"], "").await;
    assert!(started.status.success());
    if tokio::net::lookup_host(&address).await.is_err() {
        return eprintln!("skipped: this machine does not know its own name, {name:?}");
    }
    let mut server = Program::start(EXE, &[&address]).await;
    let announced = server.line_with("open ").await;
    let page = announced.trim_start_matches("open ").trim_end_matches("/ in a browser").to_owned();
    assert_eq!(page, format!("http://{name}:{}", server.address.port()));
    assert!(Peer::connect_from(&server.url(), &page).await.is_ok(), "{page}");
    for other in [page.replace("http:", "https:"), format!("http://{name}"), page + "0"] {
        assert_eq!(Peer::connect_from(&server.url(), &other).await.err(), Some(403), "{other}");
    }
}

#[tokio::test]
async fn a_rejected_origin_gets_the_flag_to_pass() {
    let server = start(&[]).await;
    for origin in ["https://shop.example:8443", "null", "http://192.0.2.7:1", "app://mine"] {
        let flag = format!("--allow-origin {origin}");
        let answer = answer(&server, "localhost", origin).await;
        assert!(answer.contains(&format!("may not connect; {flag} allows them.\n")), "{answer}");
        server.logged(&flag).await;
        // It does.
        let allowing = start(&["--allow-origin", origin]).await;
        assert!(Peer::connect_from(&allowing.url(), origin).await.is_ok(), "{origin}");
    }
    // An invalid origin must not appear as a flag, because a user might paste it into a shell.
    for origin in ["http://x;reboot", "http://$(reboot)", "http://a/b", "http://\u{9b}2J", "x y"] {
        let answer = answer(&server, "localhost", origin).await;
        assert!(answer.ends_with("\r\n\r\nPages of this origin may not connect.\n"), "{answer}");
    }
}

#[tokio::test]
async fn an_invalid_allow_origin_gets_a_hint() {
    for (origin, says) in [
        ("https://example.com/", "did you mean https://example.com?\n"),
        ("https://example.com/chat?room=1", "did you mean https://example.com?\n"),
        ("https://example.com:443", "did you mean https://example.com?\n"),
        ("http://example.com:80/", "did you mean http://example.com?\n"),
        ("example.com", "as in https://example.com\n"),
        ("*", "as in https://example.com\n"),
        ("https://", "as in https://example.com\n"),
        ("https://user@example.com", "as in https://example.com\n"),
        ("https://b\u{fc}cher.example", "as in https://example.com\n"),
        ("https://example.com:99999", "as in https://example.com\n"),
    ] {
        let output = run(EXE, &["localhost:0", "--allow-origin", origin], "").await;
        assert!(!output.status.success(), "{origin}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("invalid origin; ") && stderr.contains(says), "{stderr}");
    }
    for origin in ["https://example.com:8443", "http://[::1]:3", "null", "", "moz-extension://a-b"]
    {
        start(&["--allow-origin", origin]).await;
    }
}
