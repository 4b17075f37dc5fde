use testing::Peer;

use crate::start;

#[tokio::test]
async fn a_name_is_greeted_then_closed_with_1000() {
    let mut server = start(&[]).await;
    let mut peer = Peer::connect(&server.url()).await;
    peer.send("Ada").await;
    assert_eq!(peer.text().await, "Hello Ada!");
    assert_eq!(peer.closed().await, (1000, String::new()));
    assert_eq!(server.line_with("<").await, "< Ada");
    assert_eq!(server.line().await.unwrap(), "> Hello Ada!");
}

#[tokio::test]
async fn empty_and_unicode_names_are_greeted() {
    let mut server = start(&[]).await;
    for name in ["", "Zoë", "世界", "🦀 'q' \"d\" \\"] {
        let mut peer = Peer::connect(&server.url()).await;
        peer.send(name).await;
        assert_eq!(peer.text().await, format!("Hello {name}!"));
        assert_eq!(server.line_with("<").await, format!("< {name}"));
    }
}

#[tokio::test]
async fn control_characters_are_escaped_only_on_the_console() {
    let mut server = start(&[]).await;
    let mut peer = Peer::connect(&server.url()).await;
    peer.send("a\r\n\u{1b}[2J\u{202e}b").await;
    assert_eq!(peer.text().await, "Hello a\r\n\u{1b}[2J\u{202e}b!");
    assert_eq!(server.line_with("<").await, r"< a\r\n\u{1b}[2J\u{202e}b");
    assert_eq!(server.line().await.unwrap(), r"> Hello a\r\n\u{1b}[2J\u{202e}b!");
}

#[tokio::test]
async fn many_conversations_go_on_at_once() {
    let server = start(&[]).await;
    let mut peers = Vec::new();
    for _ in 0..50 {
        peers.push(Peer::connect(&server.url()).await);
    }
    for (n, peer) in peers.iter_mut().enumerate().rev() {
        peer.send(n.to_string()).await;
        assert_eq!(peer.text().await, format!("Hello {n}!"));
    }
}

#[tokio::test]
async fn the_server_greets_after_its_stdout_closes() {
    let mut server = start(&[]).await;
    server.close_stdout();
    let mut peer = Peer::connect(&server.url()).await;
    peer.send("Ada").await;
    assert_eq!(peer.text().await, "Hello Ada!");
    assert_eq!(peer.closed().await.0, 1000);
}
