//! Whatever is sent, and however little the stream takes at once, the peer receives it unchanged.

use std::io::{Cursor, Write};
use std::task::{Context, Waker};

use allocation_counter::measure;
use futures_util::FutureExt;
use testing::property::{Result, Unstructured, check};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket as Tungstenite};

use super::super::stream::boxed;
use super::super::websocket::WebSocket;

const ROLES: [Role; 2] = [Role::Server, Role::Client];

/// A socket on a stream that takes `room` bytes at once, and the other end of that stream.
fn socket(role: Role, room: usize) -> (WebSocket, DuplexStream) {
    let (near, far) = duplex(room);
    (WebSocket::new(boxed(near), &[], role, 1 << 20, None), far)
}

/// Reads the bytes that were written.
fn read(far: &mut DuplexStream, into: &mut impl Write) {
    let mut part = [0; 4096];
    while let Some(read) = far.read(&mut part).now_or_never() {
        into.write_all(&part[..read.unwrap()]).unwrap();
    }
}

/// Writes everything while the peer reads.
fn flush(socket: &mut WebSocket, far: &mut DuplexStream, into: &mut impl Write) {
    while socket.poll_flush(&mut Context::from_waker(Waker::noop())).is_pending() {
        read(far, into);
    }
    read(far, into);
}

/// The messages that tungstenite reads in these bytes, which a socket with this role has sent.
fn read_by_tungstenite(bytes: Vec<u8>, sender: Role) -> Vec<Message> {
    let role = if sender == Role::Server { Role::Client } else { Role::Server };
    let config = WebSocketConfig::default();
    let mut socket = Tungstenite::from_raw_socket(Cursor::new(bytes), role, Some(config));
    // Its replies would overwrite the bytes that it has not read.
    std::iter::from_fn(|| socket.read().ok()).collect()
}

fn message(input: &mut Unstructured<'_>, max_size: usize) -> Result<Message> {
    let any = input.int_in_range(0..=3000)?;
    let sizes = [0, 1, 125, 126, 511, 512, 513, 65_535, 65_536, any, any];
    let size = max_size.min(*input.choose(&sizes)?);
    Ok(match input.int_in_range(0..=4)? {
        0 => Message::Pong(vec![b'p'; size.min(125)].into()),
        1 | 2 => Message::text("aé€🦀".chars().cycle().take(size).collect::<String>()),
        _ => {
            let block: [u8; 7] = input.arbitrary()?;
            Message::binary(block.into_iter().cycle().take(size).collect::<Vec<_>>())
        }
    })
}

#[test]
fn messages_arrive_whole_and_in_order() {
    check(300, |input| {
        let role = *input.choose(&ROLES)?;
        let room = *input.choose(&[1, 100, 5000, 1 << 20])?;
        let (mut socket, mut far) = socket(role, room);
        let (mut sent, mut bytes) = (Vec::new(), Vec::new());
        for _ in 0..input.int_in_range(1..=8)? {
            let cx = &mut Context::from_waker(Waker::noop());
            let message = message(input, 1000 * room)?;
            if let Message::Pong(_) = message {
                // tungstenite keeps only the newest.
                flush(&mut socket, &mut far, &mut bytes);
            }
            // Sometimes the last message is not written yet, although it should be.
            if input.ratio(2, 3)? {
                while socket.poll_ready(cx).is_pending() {
                    read(&mut far, &mut bytes);
                }
            }
            socket.start_send(cx, message.clone()).unwrap();
            sent.push(message);
            if input.arbitrary()? {
                _ = socket.poll_flush(cx);
            }
        }
        flush(&mut socket, &mut far, &mut bytes);
        let (pongs, messages): (Vec<_>, Vec<_>) =
            read_by_tungstenite(bytes, role).into_iter().partition(Message::is_pong);
        let (sent_pongs, sent): (Vec<_>, Vec<_>) = sent.into_iter().partition(Message::is_pong);
        // A control frame may overtake data.
        assert_eq!((messages, pongs), (sent, sent_pongs));
        Ok(())
    });
}

#[test]
fn a_client_masks_each_frame_differently() {
    let (mut socket, mut far) = socket(Role::Client, 1 << 20);
    let mut bytes = Vec::new();
    for size in [10, 10, 1000, 1000] {
        let cx = &mut Context::from_waker(Waker::noop());
        socket.start_send(cx, Message::binary(vec![0; size])).unwrap();
        flush(&mut socket, &mut far, &mut bytes);
    }
    // The payload is zeros, so the masked one is the mask.
    let masks = [&bytes[2..6], &bytes[18..22], &bytes[36..40], &bytes[1044..1048]];
    assert_eq!([&bytes[6..10], &bytes[40..44]], [masks[0], masks[2]]);
    assert!(masks.windows(2).any(|masks| masks[0] != masks[1]));
}

#[test]
fn a_sent_message_leaves_no_memory() {
    for role in ROLES {
        let (mut socket, mut far) = socket(role, 4096);
        let mut send = |size| {
            let cx = &mut Context::from_waker(Waker::noop());
            socket.start_send(cx, Message::binary(vec![7; size])).unwrap();
            // It waits behind a large message.
            socket.start_send(cx, Message::Ping(vec![7; 100].into())).unwrap();
            flush(&mut socket, &mut far, &mut std::io::sink());
        };
        send(5000);
        let memory = measure(|| send(1 << 20));
        assert!(memory.bytes_current < 1024, "{role:?} keeps {}", memory.bytes_current);
        // A server writes the payload from where it is. A client masks it there.
        assert!(memory.bytes_max < (1 << 20) + 4096, "{role:?} needs {}", memory.bytes_max);
    }
}
