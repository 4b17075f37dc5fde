//! Whatever a server answers, the client gets its message or one line of error.

use testing::property::{Unstructured, check, mutate, pieces, text};
use testing::soon;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::task::yield_now;
use tungstenite::handshake::derive_accept_key;

use super::*;
use crate::client::{leave, recv_text};

/// What a server answers to the request with this key.
type Answer<'a> = Box<dyn FnOnce(&str) -> Vec<u8> + 'a>;

/// Connects to a server that sends this answer and disconnects. Returns the first message.
fn message(input: &mut Unstructured<'_>, answer: Answer<'_>) -> Option<Result<String>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        if Proxy::of(&Target::parse(&url).unwrap()).is_some() {
            eprintln!("skipped, because the environment names a proxy");
            return None;
        }
        let serve = async {
            let mut stream = listener.accept().await.unwrap().0;
            // A redirect leads nowhere.
            drop(listener);
            stream.set_nodelay(true).unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            let request = String::from_utf8(request).unwrap();
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
            let answer = answer(key.unwrap());
            for piece in pieces(input, &answer).unwrap() {
                // The client may have seen enough.
                if stream.write_all(piece).await.is_err() {
                    break;
                }
                yield_now().await;
            }
            _ = stream.shutdown().await;
            _ = stream.read_to_end(&mut Vec::new()).await;
        };
        let converse = async {
            let (mut socket, _) = Connect::default().open(&url).await?;
            let text = recv_text(&mut socket).await;
            let result = text.as_ref().map(|_| ()).map_err(|error| error.to_string().into());
            match text {
                Ok(text) => leave(&mut socket, &url, result).await.map(|()| text),
                Err(error) => leave(&mut socket, &url, Err(error)).await.map(|()| String::new()),
            }
        };
        Some(soon("the client", async { tokio::join!(converse, serve).0 }).await)
    })
}

fn response(key: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    )
}

#[test]
fn a_response_and_a_message_arrive_in_any_pieces() {
    check(100, |input| {
        let text = text(input, &["\r\n\r\n", "\u{e9}"], 25)?;
        let mut frame = vec![0x81, text.len() as u8];
        frame.extend(text.as_bytes());
        let close = [0x88, 2, 3, 0xe8];
        let answer = |key: &str| [response(key).as_bytes(), &frame, &close].concat();
        if let Some(read) = message(input, Box::new(answer)) {
            assert_eq!(read.unwrap(), text);
        }
        Ok(())
    });
}

#[test]
fn any_answer_is_a_message_or_an_error() {
    check(200, |input| {
        const PARTS: [&str; 10] =
            ["\u{1b}", "\u{202e}", "\n", "Location: ", "\r\n", ": ", "ws://", "\0", "@", "\u{e9}"];
        // Without a slash, it redirects to no other host.
        let odd = text(input, &PARTS, 8)?.replace(['/', '\\'], "");
        let status = *input.choose(&["200 OK", "302 Found", "401 No", "503 Busy", "999 Odd"])?;
        let kind = input.int_in_range(0..=3)?;
        let mut random = vec![0; 64.min(input.len())];
        input.fill_buffer(&mut random)?;
        let answer = |key: &str| {
            let mut answer = match kind {
                0 => odd.clone().into_bytes(),
                1 => format!("HTTP/1.1 {status}\r\nLocation: {odd}\r\n\r\n").into_bytes(),
                2 => format!("HTTP/1.1 {status}\r\nA: b\r\n\r\n{odd}").into_bytes(),
                // A close frame with any reason.
                _ => {
                    let mut answer = response(key).into_bytes();
                    let reason = &odd[..odd.floor_char_boundary(123)];
                    answer.extend([0x88, 2 + reason.len() as u8, 0x0f, 0xa0]);
                    answer.extend(reason.as_bytes());
                    answer
                }
            };
            mutate(&mut Unstructured::new(&random), &mut answer).unwrap();
            answer
        };
        if let Some(Err(error)) = message(input, Box::new(answer)) {
            let error = error.to_string();
            let is_safe = |c: char| !c.is_control() && c != '\u{202e}';
            assert!(error.chars().all(is_safe), "{error:?}");
        }
        Ok(())
    });
}
