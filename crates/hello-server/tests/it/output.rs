use testing::Peer;

use crate::start;

#[cfg(unix)]
#[tokio::test]
async fn a_stdout_that_nobody_reads_holds_up_neither_a_conversation_nor_the_end() {
    let mut server = start(&[]).await;
    // Far more than a pipe holds, and than waits to be read.
    let name = "\u{1b}".repeat(200_000);
    for _ in 0..300 {
        let mut peer = Peer::connect(&server.url()).await;
        peer.send(name.clone()).await;
        assert_eq!(peer.text().await.len(), "Hello !".len() + name.len());
        assert_eq!(peer.closed().await.0, 1000);
    }
    server.terminate();
    assert!(server.exit().await.success());
}

#[cfg(unix)]
#[tokio::test]
async fn a_stderr_that_nobody_reads_holds_up_neither_a_conversation_nor_the_end() {
    use std::process::Stdio;

    use testing::{HANDSHAKE, http, soon};
    use tokio::io::{AsyncBufReadExt, BufReader};

    // A pipe holds 64 KiB, and that is in it when the server starts.
    let fill = "head -c 65536 /dev/zero >&2; exec \"$0\" \"$@\"";
    let mut server = tokio::process::Command::new("sh")
        .args(["-c", fill, crate::EXE, "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let line = soon("the listening line", lines.next_line()).await.unwrap().unwrap();
    let address = line.strip_prefix("listening on ws://").unwrap().parse().unwrap();
    for _ in 0..20 {
        let foreign = HANDSHAKE.replace("Host:", "Origin: https://example.org\r\nHost:");
        assert!(http(address, &foreign).await.starts_with("HTTP/1.1 403 "));
    }
    let mut peer = Peer::connect(&format!("ws://{address}")).await;
    peer.send("Ada").await;
    assert_eq!(peer.text().await, "Hello Ada!");
    peer.close().await;
    testing::kill(server.id().unwrap(), testing::Signal::TERM);
    assert!(soon("the end", server.wait()).await.unwrap().success());
}

#[tokio::test]
async fn what_is_printed_of_one_message_is_bounded_and_says_how_much_there_is() {
    let mut server = start(&[]).await;
    let mut peer = Peer::connect(&server.url()).await;
    peer.send("\u{1b}".repeat(1 << 20)).await;
    peer.text().await;
    let line = server.line_with("< ").await;
    assert!(line.starts_with("< \\u{1b}\\u{1b}"), "{line}");
    assert!(line.len() < 5000 && line.ends_with(" bytes more)"), "{} bytes", line.len());
    assert!(server.line_with("> ").await.len() < 5000);
}
