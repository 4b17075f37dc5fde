//! Whatever a peer sends, and in whatever pieces it arrives, the messages and the close code are
//! those of RFC 6455.

mod model;

use std::io::Cursor;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use futures_util::FutureExt;
use testing::property::{Result, Unstructured, check, mutate, pieces};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tungstenite::http::{HeaderMap, header};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket as Tungstenite};

use self::model::{End, Outcome, expected};
use super::super::close_frame_for;
use super::super::stream::boxed;
use super::super::websocket::WebSocket;
use crate::deflate::{Deflate, accept, compress};

/// What our socket makes of these pieces.
fn received(pieces: &[&[u8]], role: Role, max_size: usize) -> Outcome {
    let mut messages = Vec::new();
    let end = receive(pieces, role, max_size, |message| messages.push(message));
    (messages, end)
}

/// Sends the stream in any pieces. The messages and the end must be those of the model.
fn ends_right(
    input: &mut Unstructured<'_>,
    stream: &[u8],
    role: Role,
    max_size: usize,
) -> Result<()> {
    let (messages, end) = received(&pieces(input, stream)?, role, max_size);
    let ((right, last), early) = expected(stream, role, max_size);
    assert_eq!(messages, right);
    assert!(end == last || Some(end) == early.map(End::Failed), "{end:?} {last:?} {early:?}");
    Ok(())
}

/// Receives these pieces. Each arrives after the socket has read all of the pieces before.
fn receive(pieces: &[&[u8]], role: Role, max_size: usize, on_message: impl FnMut(Message)) -> End {
    receive_with(None, pieces, role, max_size, on_message)
}

fn receive_with(
    deflate: Option<Deflate>,
    pieces: &[&[u8]],
    role: Role,
    max_size: usize,
    mut on_message: impl FnMut(Message),
) -> End {
    let (near, mut far) = duplex(1 << 20);
    let mut socket = WebSocket::new(boxed(near), &[], role, max_size, deflate);
    let mut cx = Context::from_waker(Waker::noop());
    let mut is_closed = false;
    let mut replies = [0; 4096];
    for piece in pieces.iter().map(Some).chain([None]) {
        match piece {
            Some(piece) => far.write_all(piece).now_or_never().unwrap().unwrap(),
            None => far.shutdown().now_or_never().unwrap().unwrap(),
        }
        loop {
            socket.is_yielding = false;
            match socket.poll_next(&mut cx) {
                Poll::Pending if socket.is_yielding => {}
                Poll::Pending => break,
                Poll::Ready(Some(Ok(message))) => {
                    assert!(!is_closed, "{message} after a close frame");
                    is_closed = message.is_close();
                    on_message(message);
                }
                // Nothing counts after the close frame of the peer.
                Poll::Ready(_) if is_closed => return End::Closed,
                Poll::Ready(Some(Err(error))) => {
                    let frame = close_frame_for(Err(error.into()));
                    return frame.map_or(End::Lost, |frame| End::Failed(frame.code.into()));
                }
                Poll::Ready(None) => panic!("the end of the messages without a close frame"),
            }
        }
        while far.read(&mut replies).now_or_never().is_some_and(|read| read.unwrap() > 0) {}
    }
    panic!("the end of the stream is not the end of the messages");
}

/// The messages that tungstenite itself reads.
fn received_by_tungstenite(bytes: &[u8], role: Role, max_size: usize) -> Vec<Message> {
    struct Stream<'a>(Cursor<&'a [u8]>);
    impl std::io::Read for Stream<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            std::io::Read::read(&mut self.0, buf)
        }
    }
    impl std::io::Write for Stream<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let config =
        WebSocketConfig::default().max_message_size(Some(max_size)).max_frame_size(Some(max_size));
    let stream = Stream(Cursor::new(bytes));
    let mut socket = Tungstenite::from_raw_socket(stream, role, Some(config));
    std::iter::from_fn(|| socket.read().ok()).collect()
}

fn frame(
    input: &mut Unstructured<'_>,
    role: Role,
    opcode: OpCode,
    is_final: bool,
    payload: &[u8],
) -> Result<Vec<u8>> {
    let mask: Option<[u8; 4]> = match role {
        Role::Server => Some(input.arbitrary()?),
        Role::Client => None,
    };
    let header = FrameHeader { is_final, opcode, mask, ..FrameHeader::default() };
    let mut frame = Vec::new();
    header.format(payload.len() as u64, &mut frame).unwrap();
    frame.extend(
        payload.iter().zip(mask.unwrap_or_default().iter().cycle()).map(|(byte, mask)| byte ^ mask),
    );
    Ok(frame)
}

fn control(input: &mut Unstructured<'_>, role: Role) -> Result<Vec<u8>> {
    let opcode = *input.choose(&[Control::Ping, Control::Pong])?;
    let length = input.int_in_range(0..=125.min(input.len()))?;
    let payload = input.bytes(length)?;
    frame(input, role, OpCode::Control(opcode), true, payload)
}

/// A stream of frames without a fault, for messages of `max_size` bytes at most.
fn frames(input: &mut Unstructured<'_>, role: Role, max_size: usize) -> Result<Vec<u8>> {
    let mut stream = Vec::new();
    for _ in 0..input.int_in_range(1..=6)? {
        if input.ratio(1, 3)? {
            stream.extend(control(input, role)?);
        }
        let any = input.int_in_range(0..=3000)?;
        let sizes =
            [0, 1, 125, 126, 127, 511, 512, 513, 1024, 1025, 1036, 65_535, 65_536, any, any, any];
        let size = max_size.min(*input.choose(&sizes)?);
        let text = input.arbitrary()?;
        let payload: Vec<u8> = if text {
            // Characters of one to four bytes, at any distance from the beginning.
            let start = "abcd".chars().take(input.int_in_range(0..=3)?);
            let mut text: String = start.chain("aé€🦀z".chars().cycle()).take(size).collect();
            text.truncate(text.floor_char_boundary(size));
            text.into()
        } else {
            let block: [u8; 7] = input.arbitrary()?;
            block.into_iter().cycle().take(size).collect()
        };
        let mut fragments = vec![&payload[..]];
        if (1..5000).contains(&size) && input.ratio(1, 3)? {
            fragments = pieces(input, &payload)?;
        }
        let last = fragments.len() - 1;
        for (n, fragment) in fragments.into_iter().enumerate() {
            let kind = if n > 0 {
                Data::Continue
            } else if text {
                Data::Text
            } else {
                Data::Binary
            };
            stream.extend(frame(input, role, OpCode::Data(kind), n == last, fragment)?);
            if n < last && input.ratio(1, 8)? {
                stream.extend(control(input, role)?);
            }
        }
    }
    if input.arbitrary()? {
        let code: u16 = *input.choose(&[1000, 1001, 1011, 3000, 4999])?;
        let payload = [&code.to_be_bytes()[..], "until later".as_bytes()].concat();
        let payload = &payload[..*input.choose(&[0, 2, 13])?];
        stream.extend(frame(input, role, OpCode::Control(Control::Close), true, payload)?);
    }
    Ok(stream)
}

fn role(input: &mut Unstructured<'_>) -> Result<Role> {
    input.choose(&[Role::Server, Role::Client]).copied()
}

#[test]
fn frames_in_any_pieces_are_the_same_messages() {
    check(200, |input| {
        let (role, max_size) = (role(input)?, *input.choose(&[600, 5000, 1 << 20])?);
        let stream = frames(input, role, max_size)?;
        let cut = received(&pieces(input, &stream)?, role, max_size);
        let whole = received(&[&stream], role, max_size);
        assert_eq!(cut, whole);
        assert_eq!(whole.0, received_by_tungstenite(&stream, role, max_size));
        assert_eq!((whole, None), expected(&stream, role, max_size));
        Ok(())
    });
}

#[test]
fn a_changed_stream_ends_with_the_right_code() {
    check(500, |input| {
        let (role, max_size) = (role(input)?, *input.choose(&[600, 5000, 1 << 20])?);
        let mut stream = frames(input, role, max_size)?;
        mutate(input, &mut stream)?;
        ends_right(input, &stream, role, max_size)
    });
}

#[test]
fn any_frames_end_with_the_right_code() {
    check(2000, |input| {
        let (role, max_size) = (role(input)?, *input.choose(&[0, 3, 600, 5000])?);
        let mut stream = Vec::new();
        for _ in 0..input.int_in_range(1..=8)? {
            let most = *input.choose(&[2, 130, 2000])?;
            let length = input.int_in_range(0..=most)?;
            let byte = input.choose(b"a\xc3\xa9\xff\x03")?;
            let opcode = OpCode::from(input.int_in_range(0..=10)?);
            let is_final = input.ratio(2, 3)?;
            let mut bytes = frame(input, role, opcode, is_final, &vec![*byte; length])?;
            if input.ratio(1, 8)? {
                bytes[0] = input.arbitrary()?;
            }
            if input.ratio(1, 8)? {
                bytes[1] = input.arbitrary()?;
            }
            stream.extend(bytes);
        }
        ends_right(input, &stream, role, max_size)
    });
}

#[test]
fn a_peer_takes_memory_only_for_its_bytes() {
    // The buffer for reading belongs to the thread.
    receive(&[b"?"], Role::Server, 0, drop);
    check(100, |input| {
        let max_size = 1 << 20;
        let role = role(input)?;
        let mut stream = frames(input, role, max_size)?;
        let announced = input.int_in_range(0..=max_size as u64)?;
        let opcode = OpCode::Data(*input.choose(&[Data::Text, Data::Binary, Data::Continue])?);
        let mask = (role == Role::Server).then_some([0; 4]);
        let header =
            FrameHeader { opcode, mask, is_final: input.arbitrary()?, ..FrameHeader::default() };
        header.format(announced, &mut stream).unwrap();
        stream.extend(vec![b'a'; input.int_in_range(0..=2000)?.min(announced as usize)]);
        let pieces = pieces(input, &stream)?;
        let memory = measure(|| _ = receive(&pieces, role, max_size, drop));
        let sent = stream.len() as u64;
        assert!(memory.bytes_max < 5 * sent + (16 << 10), "{} for {sent}", memory.bytes_max);
        Ok(())
    });
}

fn deflate() -> Deflate {
    let offer = "permessage-deflate".parse().unwrap();
    let offer = HeaderMap::from_iter([(header::SEC_WEBSOCKET_EXTENSIONS, offer)]);
    accept(&offer).unwrap().0
}

#[test]
fn max_size_counts_a_compressed_text_in_fragments() {
    let text: String = (0..1000).map(|n| format!("{} €", n * n)).collect();
    let data = compress(15, text.as_bytes()).unwrap();
    let (first, last) = data.split_at(data.len() / 2);
    let (text_frame, next) = (OpCode::Data(Data::Text), OpCode::Data(Data::Continue));
    let mut zeros = Unstructured::new(&[]);
    let mut first = frame(&mut zeros, Role::Server, text_frame, false, first).unwrap();
    first[0] |= 1 << 6;
    let last = frame(&mut zeros, Role::Server, next, true, last).unwrap();
    // Each text is followed by an invalid frame.
    for (max_size, messages, code) in [(text.len(), 1, 1002), (text.len() - 1, 0, 1009)] {
        let mut received = Vec::new();
        let pieces = [&first[..], &last, &[0xff, 0x80, 0, 0, 0, 0]];
        let keep = |message| received.push(message);
        let end = receive_with(Some(deflate()), &pieces, Role::Server, max_size, keep);
        assert_eq!((received.len(), end), (messages, End::Failed(code)));
        assert!(received.iter().all(|message| *message == Message::text(text.as_str())));
    }
}

#[test]
fn compressed_messages_in_any_pieces_are_the_same() {
    let deflate = deflate();
    let mut compressed = 0;
    check(200, |input| {
        let (mut stream, mut messages) = (Vec::new(), Vec::new());
        for _ in 0..input.int_in_range(1..=4)? {
            let length = input.int_in_range(0..=input.len().min(100))?;
            let payload = input.bytes(length)?.repeat(input.int_in_range(0..=90)?);
            let data = compress(15, &payload);
            compressed += usize::from(data.is_some());
            let fragments = pieces(input, data.as_deref().unwrap_or(&payload))?;
            // A message has one fragment at least.
            let last = fragments.len().saturating_sub(1);
            for index in 0..=last {
                let opcode = if index == 0 { Data::Binary } else { Data::Continue };
                let fragment = fragments.get(index).copied().unwrap_or_default();
                let opcode = OpCode::Data(opcode);
                let mut frame = frame(input, Role::Server, opcode, index == last, fragment)?;
                frame[0] |= u8::from(data.is_some() && index == 0) << 6;
                stream.extend(frame);
                if input.ratio(1, 5)? {
                    stream.extend(control(input, Role::Server)?);
                }
            }
            messages.push(Message::binary(payload));
        }
        stream.extend([0x88, 0x80, 0, 0, 0, 0]);
        let mut received = Vec::new();
        let pieces = pieces(input, &stream)?;
        let end = receive_with(Some(deflate), &pieces, Role::Server, 9000, |message| {
            if message.is_binary() {
                received.push(message);
            }
        });
        assert!(received == messages && end == End::Closed);
        Ok(())
    });
    assert!(compressed > 50, "only {compressed} messages are compressed");
}
