//! What was said to everyone, as it goes over the wire, and where each user is in it.
//!
//! Every change is encoded once, as a frame, and appended. Who has a cursor into the tape takes
//! all that lies between it and the end, in one write. The tape is bounded: a cursor may point
//! to what is no longer there.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use common::events::Event;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// How much of the past is kept, in bytes: over 20,000 changes of the value. There is one tape for
/// all users, so that it costs little to let a user fall far behind without missing anything.
const TAPE: usize = 1 << 20;

/// How much a user takes at once, in bytes: what a slow user holds in memory.
const TAKE: usize = 16 << 10;

/// The newest frames, end to end. Positions count bytes since the first frame ever.
#[derive(Default)]
pub struct Tape {
    frames: VecDeque<u8>,
    start: u64,
    /// What a user took last, and from where to where it goes.
    taken: (Bytes, Range<u64>),
}

impl Tape {
    /// Where the next frame will go.
    pub fn end(&self) -> u64 {
        self.start + self.frames.len() as u64
    }

    /// Encodes an event and appends it.
    pub fn append(&mut self, event: &Event) {
        let frame = Frame::message(event.to_json(), OpCode::Data(Data::Text), true);
        // A VecDeque takes whatever is written.
        _ = frame.format(&mut self.frames);
        while self.frames.len() > TAPE {
            let first = self.frame_at(0);
            self.frames.drain(..first);
            self.start += first as u64;
        }
    }

    /// The length of the frame at `offset`, its header of two bytes included: our events have
    /// fewer than 126 bytes.
    fn frame_at(&self, offset: usize) -> usize {
        2 + self.frames.get(offset + 1).copied().unwrap_or_default() as usize
    }

    /// The whole frames after `cursor`, as many as a user takes, and where they end. `None` if
    /// they are no longer there.
    pub fn after(&mut self, cursor: u64) -> Option<(Bytes, u64)> {
        let from = usize::try_from(cursor.checked_sub(self.start)?).ok()?;
        let mut to = self.frames.len();
        if to - from > TAKE {
            to = from;
            while to + self.frame_at(to) - from <= TAKE {
                to += self.frame_at(to);
            }
        }
        let end = self.start + to as u64;
        if to == from {
            return Some((Bytes::new(), cursor));
        }
        // Those who keep up all take the same, and share it.
        let taken = cursor..end;
        if self.taken.1 != taken {
            let frames: Vec<u8> = self.frames.range(from..to).copied().collect();
            self.taken = (frames.into(), taken);
        }
        Some((self.taken.0.clone(), end))
    }

    /// All of it.
    pub fn into_bytes(self) -> Bytes {
        self.frames.into_iter().collect()
    }
}
