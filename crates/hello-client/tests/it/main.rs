//! Tests of hello-client through the real binary, against servers of the test's own.
//!
//! | file | tests |
//! | --- | --- |
//! | `conversation` | the prompt, the messages, the output, and the end |
//! | `urls` | valid URLs, and which server receives their password |
//! | `statuses` | an error message for each response that is not a WebSocket |
//! | `redirects` | which are followed, and with what |
//! | `broken` | a server that violates the protocol, or disconnects |
//! | `proxies` | an error message for each failure of a proxy (talk's tests have real ones) |

mod broken;
mod conversation;
mod proxies;
mod redirects;
mod statuses;
mod urls;

use std::process::Output;

use testing::{run, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, accept_async};

const EXE: &str = env!("CARGO_BIN_EXE_hello-client");

/// Runs the client against a server that does `behave`, and returns what both did.
async fn converse<T, F>(
    input: &str,
    behave: impl FnOnce(WebSocketStream<TcpStream>) -> F,
) -> (Output, T)
where
    F: Future<Output = T>,
{
    converse_bytes(input.as_bytes(), behave).await
}

/// The same for an input that need not be text.
async fn converse_bytes<T, F>(
    input: &[u8],
    behave: impl FnOnce(WebSocketStream<TcpStream>) -> F,
) -> (Output, T)
where
    F: Future<Output = T>,
{
    let (listener, address) = listen().await;
    let url = format!("ws://{address}");
    let args = [url.as_str()];
    let client = run(EXE, &args, input);
    let server = async {
        let (stream, _) = soon("the client", listener.accept()).await.unwrap();
        behave(accept_async(stream).await.unwrap()).await
    };
    tokio::join!(client, server)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Checks for exit status 1, and one error line that contains `says`.
fn failed(output: &Output, says: &str) {
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains(says) && stderr.lines().count() == 1, "{stderr}");
    assert!(stderr.starts_with(|c: char| !c.is_uppercase()), "{stderr}");
}

/// A listener and its address.
async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Accepts a connection, reads the request, and writes `answer`. Returns the head of the request.
async fn answer(listener: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = soon("the client", listener.accept()).await.unwrap();
    let head = head(&mut stream).await;
    stream.write_all(answer.as_bytes()).await.unwrap();
    head
}

/// Reads a request's head, to its empty line.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let byte = soon("a request", stream.read_u8()).await.unwrap();
        head.push(byte.into());
    }
    head
}
