//! An error message for each failure of a proxy. (talk's tests have real proxies.)

use std::process::{Output, Stdio};

use testing::soon;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::{EXE, answer, failed, listen, text};

/// Runs the client with this environment and no other proxies.
async fn run_with(variables: &[(&str, &str)], url: &str) -> Output {
    let mut command = Command::new(EXE);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.arg(url).stdin(Stdio::null()).kill_on_drop(true);
    soon("the client", command.envs(variables.iter().copied()).output()).await.unwrap()
}

#[tokio::test]
async fn a_proxy_error_shows_a_reason_without_password() {
    for (response, says) in [
        ("HTTP/1.1 407 x\r\nContent-Length: 0\r\n\r\n", "requires a different login (407)"),
        (
            "HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n",
            "does not connect to server.example:81 (403 Forbidden)",
        ),
        (
            "HTTP/1.1 502 x\r\nContent-Length: 0\r\n\r\n",
            "does not connect to server.example:81 (502 Bad Gateway)",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n", "does not answer like an HTTP proxy"),
        ("", "does not answer like an HTTP proxy"),
    ] {
        let (listener, address) = listen().await;
        let proxy = format!("http://ada:secret@{address}");
        let variables = [("HTTP_PROXY", proxy.as_str())];
        let (output, request) = tokio::join!(
            run_with(&variables, "ws://server.example:81/a"),
            answer(&listener, response)
        );
        // base64 of "ada:secret"
        assert!(request.starts_with("CONNECT server.example:81 HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("proxy-authorization: Basic YWRhOnNlY3JldA==\r\n"), "{request}");
        failed(&output, says);
        failed(
            &output,
            &format!("cannot reach ws://server.example:81/a: the proxy http://{address} "),
        );
        failed(&output, "or set NO_PROXY=server.example to go without it");
        assert!(!text(&output.stderr).contains("secret"));
    }
}

#[tokio::test]
async fn a_socks_proxy_error_shows_a_reason() {
    // Method chosen, then the reply to the request (RFC 1928, sections 3 and 6).
    let refused = [&[5, 0][..], &[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]];
    for (answers, says) in [
        (&refused[..], "did not connect to it (Connection not allowed by ruleset)"),
        (&[&[5, 0xff][..]], "requires a different login; set ALL_PROXY=socks5h://"),
        (&[&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]], "does not answer like a SOCKS 5 proxy"),
        (&[], "does not answer like a SOCKS 5 proxy"),
    ] {
        let (listener, address) = listen().await;
        let proxy = format!("socks5h://{address}");
        let variables = [("ALL_PROXY", proxy.as_str())];
        let server = async {
            let (mut stream, _) = soon("the client", listener.accept()).await.unwrap();
            let mut asked = [0; 512];
            for answer in answers {
                let n = soon("a request", stream.read(&mut asked)).await.unwrap();
                assert!(n > 0);
                stream.write_all(answer).await.unwrap();
            }
        };
        let (output, ()) = tokio::join!(run_with(&variables, "ws://server.example"), server);
        failed(&output, says);
        failed(&output, &format!("the proxy socks5h://{address} "));
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_answer_is_named() {
    for scheme in ["http", "socks5h"] {
        let (_listener, address) = listen().await;
        let proxy = format!("{scheme}://{address}");
        let output = run_with(&[("ALL_PROXY", &proxy)], "ws://server.example").await;
        failed(&output, &format!("no answer from the proxy {proxy} within 10 s"));
    }
}

#[tokio::test]
async fn a_missing_or_unsupported_proxy_is_one_line() {
    let (listener, address) = listen().await;
    drop(listener);
    for scheme in ["http", "socks5h"] {
        let proxy = format!("{scheme}://{address}");
        let output = run_with(&[("ALL_PROXY", &proxy)], "ws://server.example").await;
        failed(&output, &format!("the proxy {proxy} is unreachable (Connection refused"));
    }
    for proxy in ["https://proxy.example", "socks4://proxy.example"] {
        let output = run_with(&[("ALL_PROXY", proxy)], "ws://server.example").await;
        failed(&output, &format!("the proxy {proxy} has an unsupported scheme; use http"));
    }
}

#[tokio::test]
async fn no_proxy_and_other_schemes_connect_directly() {
    let (listener, address) = listen().await;
    let url = format!("ws://{address}");
    for variables in [
        [("HTTP_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "example.com,127.0.0.1")],
        [("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "")],
    ] {
        let (output, request) =
            tokio::join!(run_with(&variables, &url), answer(&listener, "HTTP/1.1 404 x\r\n\r\n"));
        assert!(request.starts_with("GET / "), "{request}");
        failed(&output, "answered 404");
    }
}
