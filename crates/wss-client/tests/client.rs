//! Tests of wss-client through the real binary, against a server of the test's own. The tests of
//! wss-server make wrong certificates, and check the errors for them.

use std::path::PathBuf;

use common::tls;
use futures_util::{SinkExt, StreamExt};
use testing::{run, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tungstenite::Message;

const EXE: &str = env!("CARGO_BIN_EXE_wss-client");

/// A certificate of the test's own, in a file that no other test uses.
fn made(name: &str) -> PathBuf {
    let pem = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name).join("localhost.pem");
    tls::make(&pem).unwrap();
    pem
}

/// Runs the client with `flags` against a greeting server. Returns stdout, stderr and the exit
/// status.
async fn greet(server_pem: PathBuf, flags: &[&str]) -> (String, String, Option<i32>) {
    greet_at("127.0.0.1:0", "localhost", server_pem, flags).await
}

async fn greet_at(
    address: &str,
    host: &str,
    server_pem: PathBuf,
    flags: &[&str],
) -> (String, String, Option<i32>) {
    let acceptor = tls::acceptor(&server_pem, None, host).unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    let url = format!("wss://{host}:{}", listener.local_addr().unwrap().port());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that does not trust us ends here.
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let mut socket = accept_async(stream).await.unwrap();
        let Some(Ok(Message::Text(name))) = socket.next().await else { panic!("no name") };
        socket.send(Message::text(format!("Hello {name}!"))).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    });
    let output = run(EXE, &[&[url.as_str()], flags].concat(), "Ada\n").await;
    soon("the server", server).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[tokio::test]
async fn the_conversation_is_that_of_hello_client_encrypted() {
    let pem = made("greets");
    let (stdout, stderr, status) = greet(pem.clone(), &["--ca", pem.to_str().unwrap()]).await;
    assert_eq!(stdout, "What's your name? > Ada\n< Hello Ada!\n");
    assert_eq!((stderr.as_str(), status), ("", Some(0)));
}

#[tokio::test]
async fn each_name_of_the_certificate_can_be_connected_to() {
    let pem = made("names");
    for (address, host) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "[::1]")] {
        // Not every machine has IPv6.
        if TcpListener::bind(address).await.is_err() {
            continue;
        }
        let (_, stderr, status) =
            greet_at(address, host, pem.clone(), &["--ca", pem.to_str().unwrap()]).await;
        assert_eq!((stderr.as_str(), status), ("", Some(0)));
    }
}

#[tokio::test]
async fn a_certificate_other_than_ca_is_rejected() {
    let (own, other) = (made("own"), made("other"));
    let (stdout, stderr, status) = greet(own.clone(), &["--ca", other.to_str().unwrap()]).await;
    assert_eq!((stdout.as_str(), status), ("", Some(1)));
    assert!(stderr.contains("is not trusted by this client"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1);

    let (_, stderr, status) = greet(own, &["--system-roots"]).await;
    assert_eq!(status, Some(1));
    assert!(stderr.contains("is not trusted by this client"), "{stderr}");
}

#[tokio::test]
async fn untrusted_or_plain_servers_receive_nothing() {
    let missing = run(EXE, &["--ca", "no-such.pem"], "Ada\n").await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8(missing.stderr).unwrap().starts_with("there is no no-such.pem; "));

    let pem = made("plain");
    let plain = run(EXE, &["ws://localhost:1", "--ca", pem.to_str().unwrap()], "Ada\n").await;
    assert_eq!(plain.status.code(), Some(1));
    assert!(String::from_utf8(plain.stderr).unwrap().starts_with("this client always uses TLS"));

    let both = run(EXE, &["--system-roots", "--ca", "x.pem"], "Ada\n").await;
    assert!(!both.status.success());
}

/// The error message of the client for a server that answers its TLS hello with this fatal alert
/// (RFC 8446, section 6).
#[cfg(target_os = "linux")]
async fn alerted(number: u8) -> String {
    let pem = made("alerts");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}", listener.local_addr().unwrap().port());
    let server = async {
        let (mut stream, _) = soon("the client", listener.accept()).await.unwrap();
        let mut hello = [0; 4096];
        assert!(soon("a hello", stream.read(&mut hello)).await.unwrap() > 0);
        stream.write_all(&[21, 3, 3, 0, 2, 2, number]).await.unwrap();
        // Until it is read.
        _ = soon("the end", stream.read(&mut hello)).await;
    };
    let arguments = [url.as_str(), "--ca", pem.to_str().unwrap()];
    let (output, ()) = tokio::join!(run(EXE, &arguments, "Ada\n"), server);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    said.replace(&url, "URL")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_tls_error_never_advises_plain_ws() {
    let certificate = "URL requires a client certificate that it accepts";
    for (alert, says) in [
        (70, "URL offers no safe TLS version; its server must support TLS 1.2 or 1.3"),
        (40, "URL ended the TLS handshake; it requires a client certificate, or a cipher"),
        (42, certificate),
        (116, certificate),
        (80, "no TLS connection to URL ("),
    ] {
        let said = alerted(alert).await;
        assert!(said.starts_with(says), "{alert}: {said}");
        assert!(!said.contains("ws://"), "{said}");
    }
}

#[tokio::test]
async fn a_redirect_away_from_encryption_is_not_followed() {
    let pem = made("downgrade");
    let acceptor = tls::acceptor(&pem, None, "localhost").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}", listener.local_addr().unwrap().port());
    let server = async {
        let (stream, _) = soon("the client", listener.accept()).await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut request = [0; 4096];
        assert!(soon("a request", stream.read(&mut request)).await.unwrap() > 0);
        let answer = b"HTTP/1.1 301 Moved\r\nLocation: ws://localhost:1/there\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    };
    let arguments = [url.as_str(), "--ca", pem.to_str().unwrap()];
    let (output, ()) = tokio::join!(run(EXE, &arguments, "Ada\n"), server);
    let said = String::from_utf8(output.stderr).unwrap();
    let says =
        format!("{url} redirects to ws://localhost:1/there, which is not encrypted; connect");
    assert!(said.starts_with(&says), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn a_lost_server_is_not_mistaken_for_plain() {
    let pem = made("gone");
    let acceptor = tls::acceptor(&pem, None, "localhost").unwrap();
    for (opened, says) in [
        (true, "closed the connection without a close frame"),
        (false, "is not a WebSocket server"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://localhost:{}", listener.local_addr().unwrap().port());
        let server = async {
            let (stream, _) = soon("the client", listener.accept()).await.unwrap();
            let stream = acceptor.accept(stream).await.unwrap();
            if opened {
                let mut socket = accept_async(stream).await.unwrap();
                socket.next().await.unwrap().unwrap();
            }
            // No close_notify, nor anything else.
        };
        let arguments = [url.as_str(), "--ca", pem.to_str().unwrap()];
        let (output, ()) = tokio::join!(run(EXE, &arguments, "Ada\n"), server);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with(&url) && said.contains(says), "{said}");
    }
}
