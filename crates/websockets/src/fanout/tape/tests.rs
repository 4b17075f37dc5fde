//! Whatever the order of messages, rounds and readers, everyone takes the same messages.

use testing::property::{Result, Unstructured, check};
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::*;
use crate::deflate::LARGEST_WINDOW;

/// What a subscriber has taken, in the compressed form if it takes that.
struct Reader {
    cursor: u64,
    is_compressed: bool,
    taken: Vec<u8>,
    /// What was on the tape since it began, or since it fell behind.
    expected: Vec<u8>,
}

/// A message that becomes shorter, or one that stays as it is, which is fast even if it is long.
fn message(input: &mut Unstructured<'_>) -> Result<Message> {
    let length = *input.choose(&[0, 10, 127, 128, 1000, 20_000])?;
    let byte = input.arbitrary()?;
    Ok(match input.ratio(1, 4)? {
        true => {
            Message::Frame(Frame::message(vec![byte; 600_000], OpCode::Data(Data::Continue), true))
        }
        false => Message::binary(vec![byte; length]),
    })
}

/// Both forms of a message.
fn forms(message: &Message) -> (Bytes, Bytes) {
    let mut frames = Frames::default();
    frames.push(message.clone());
    let plain = frames.into_encoded().into_bytes();
    let compressed = Frames::compressed(&plain, LARGEST_WINDOW).into_encoded().into_bytes();
    (plain, compressed)
}

#[test]
fn every_reader_takes_all_messages_in_order() {
    let (mut compressed_reads, mut behind) = (0, 0);
    check(20, |input| {
        let mut tape = Tape::default();
        let mut readers: Vec<Reader> = Vec::new();
        let mut pending = None;
        for _ in 0..input.int_in_range(10..=60)? {
            match input.int_in_range(0..=9)? {
                0 if readers.len() < 4 => {
                    let is_compressed = input.arbitrary()?;
                    if is_compressed {
                        tape.add_compressed_reader();
                    }
                    let (cursor, taken, expected) = (tape.end(), Vec::new(), Vec::new());
                    readers.push(Reader { cursor, is_compressed, taken, expected });
                }
                1 if !readers.is_empty() => {
                    let index = input.int_in_range(0..=readers.len() - 1)?;
                    if readers.swap_remove(index).is_compressed {
                        tape.remove_compressed_reader();
                    }
                    tape.trim(readers.len());
                }
                // A round begins, and ends later. Rounds do not overlap.
                2 | 3 if pending.is_none() => pending = tape.uncompressed(),
                2 | 3 => {
                    if let Some((first, plain)) = pending.take() {
                        tape.append_compressed(first, Frames::compressed(&plain, LARGEST_WINDOW));
                    }
                }
                4..=6 => {
                    let message = message(input)?;
                    let (plain, compressed) = forms(&message);
                    tape.frames.push(message);
                    tape.trim(readers.len());
                    for reader in &mut readers {
                        let form = if reader.is_compressed { &compressed } else { &plain };
                        reader.expected.extend(form);
                    }
                }
                _ if !readers.is_empty() => {
                    let index = input.int_in_range(0..=readers.len() - 1)?;
                    behind += usize::from(!take(&mut tape, &mut readers[index]));
                    compressed_reads += usize::from(readers[index].is_compressed);
                }
                _ => {}
            }
        }
        // After a last round, nothing is left.
        if let Some((first, plain)) = pending.or_else(|| tape.uncompressed()) {
            tape.append_compressed(first, Frames::compressed(&plain, LARGEST_WINDOW));
        }
        if let Some((first, plain)) = tape.uncompressed() {
            tape.append_compressed(first, Frames::compressed(&plain, LARGEST_WINDOW));
        }
        for reader in &mut readers {
            while reader.cursor < tape.end() {
                take(&mut tape, reader);
            }
            assert!(reader.taken == reader.expected);
        }
        Ok(())
    });
    assert!(compressed_reads > 30 && behind > 0, "{compressed_reads} {behind}");
}

/// Takes the next messages. Returns `false` if the reader has fallen behind and begins at the end.
fn take(tape: &mut Tape, reader: &mut Reader) -> bool {
    let Some((encoded, cursor)) = tape.read_from(reader.cursor) else {
        reader.cursor = tape.end();
        reader.taken.clear();
        reader.expected.clear();
        return false;
    };
    assert!(encoded.len() <= BATCH as usize || cursor == reader.cursor + 1);
    reader.cursor = cursor;
    // Messages that were there before the first compressed reader are compressed when they are sent.
    reader.taken.extend(match (reader.is_compressed, encoded.compressed) {
        (true, None) => Frames::compressed(&encoded.plain, LARGEST_WINDOW).into_encoded().plain,
        (true, Some(compressed)) => compressed,
        (false, _) => encoded.plain,
    });
    true
}
