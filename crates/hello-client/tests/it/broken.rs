//! A server that violates the protocol, or disconnects: the user gets one line, the server gets a
//! close code.

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tungstenite::Message;

use crate::{converse, failed};

/// Answers the name with these bytes. Returns the close code that the server receives, and checks
/// the error message.
async fn answered_with(bytes: &[u8], says: &str) -> Option<u16> {
    let (output, heard) = converse("Ada\n", async |mut socket| {
        socket.next().await.unwrap().unwrap();
        socket.get_mut().write_all(bytes).await.unwrap();
        socket.next().await
    })
    .await;
    failed(&output, says);
    match heard {
        Some(Ok(Message::Close(Some(frame)))) => Some(frame.code.into()),
        _ => None,
    }
}

#[tokio::test]
async fn a_broken_rule_is_told_to_both_sides() {
    for (bytes, code, says) in [
        (&b"\x81\x02\xc3\x28"[..], 1007, "sent text that is not UTF-8"),
        (&b"\x83\x00"[..], 1002, "violated the WebSocket protocol"),
        (&b"\xc1\x00"[..], 1002, "violated the WebSocket protocol"),
        (
            &b"\x82\x7f\x00\x00\x00\x00\x01\x00\x00\x00"[..],
            1009,
            "a message of 16777216 bytes, but the limit is 1048576",
        ),
    ] {
        assert_eq!(answered_with(bytes, says).await, Some(code), "{says}");
    }
}

#[tokio::test]
async fn an_end_without_a_close_is_one_sentence() {
    let (output, url) = converse("Ada\n", async |mut socket| {
        socket.next().await.unwrap().unwrap();
        format!("ws://{}", socket.get_ref().local_addr().unwrap())
    })
    .await;
    failed(
        &output,
        &format!("{url} closed the connection without a close frame; is it still running?"),
    );
}

#[tokio::test]
async fn a_name_in_invalid_utf8_closes_with_1000() {
    let (output, heard) =
        crate::converse_bytes(b"Jos\xe9\n", async |mut socket| socket.next().await).await;
    failed(&output, "the input is not valid UTF-8; convert it");
    assert!(
        matches!(heard, Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1000)
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_unwritable_output_is_one_line() {
    use std::process::Stdio;

    use testing::soon;
    use tokio_tungstenite::accept_async;

    let (listener, address) = crate::listen().await;
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let client = tokio::process::Command::new(crate::EXE)
        .arg(format!("ws://{address}"))
        .env("NO_PROXY", "*")
        .stdin(Stdio::piped())
        .stdout(full)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let server = async {
        let (stream, _) = soon("the client", listener.accept()).await.unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    };
    let (output, ()) = tokio::join!(client.wait_with_output(), server);
    failed(&output.unwrap(), "cannot write to stdout (");
}
