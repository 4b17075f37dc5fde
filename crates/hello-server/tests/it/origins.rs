use testing::{HANDSHAKE, Peer, http};

use crate::start;

#[tokio::test]
async fn clients_that_are_no_browser_files_and_pages_from_this_machine_are_let_in() {
    let server = start(&[]).await;
    Peer::connect(&server.url()).await;
    for origin in [
        "null",
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
async fn pages_from_anywhere_else_get_403_whatever_the_host_header_says() {
    let server = start(&[]).await;
    for origin in [
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
async fn once_an_origin_is_named_only_what_is_named_is_let_in() {
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
