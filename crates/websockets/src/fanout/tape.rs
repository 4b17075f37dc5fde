//! The tape: the messages that subscribers still have to receive.
//!
//! Every message is encoded once, as a frame, and appended. A cursor counts the messages before
//! it, so a subscriber takes everything between its cursor and the end in one write. The tape is
//! bounded, so the messages at a cursor may be gone.

use std::ops::Range;

use bytes::Bytes;

use super::{Encoded, Frames};

/// How much the tape keeps, in bytes: over 20,000 changes of a counter. All subscribers share one
/// tape, so it costs little to let one of them fall far behind without missing anything.
const CAPACITY: usize = 1 << 20;

/// How much a subscriber takes at once, in bytes, and so holds in memory while it is slow.
const BATCH: u64 = 16 << 10;

/// The newest messages. Positions count all messages since the first one.
#[derive(Debug, Default)]
pub(super) struct Tape {
    pub(super) frames: Frames,
    /// The position of the oldest message that is kept.
    start: u64,
    /// The messages that a subscriber took last, and their positions.
    last: (Bytes, Range<u64>),
}

impl Tape {
    /// The position of the next message.
    pub(super) fn end(&self) -> u64 {
        self.start + self.frames.ends.len() as u64
    }

    /// Removes the oldest messages beyond the capacity. The newest message stays, even if it is
    /// longer. Without subscribers nothing stays.
    pub(super) fn trim(&mut self, subscribers: usize) {
        if subscribers == 0 {
            let removed = self.frames.removed + self.frames.bytes.len() as u64;
            self.start = self.end();
            self.frames = Frames { removed, subscribers, ..Frames::default() };
            self.last = (Bytes::new(), 0..0);
            return;
        }
        let Frames { bytes, ends, removed, .. } = &mut self.frames;
        while bytes.len() > CAPACITY
            && ends.len() > 1
            && let Some(end) = ends.pop_front()
        {
            bytes.drain(..(end - *removed) as usize);
            *removed = end;
            self.start += 1;
        }
        // One long message must not keep its memory forever.
        if bytes.capacity() > 4 * CAPACITY && bytes.len() <= CAPACITY {
            bytes.shrink_to(2 * CAPACITY);
        }
    }

    /// The messages after `cursor`, as many as a subscriber takes at once but at least one if there
    /// is one, and the cursor after them. `None` if they are no longer kept.
    pub(super) fn read_from(&mut self, cursor: u64) -> Option<(Encoded, u64)> {
        let first = usize::try_from(cursor.checked_sub(self.start)?).ok()?;
        let Frames { bytes, ends, removed, .. } = &self.frames;
        if first >= ends.len() {
            return Some((Encoded::default(), cursor));
        }
        // All subscribers that keep up take the same messages and share their bytes.
        if self.last.1.start == cursor && self.last.1.end == self.start + ends.len() as u64 {
            return Some((Encoded(self.last.0.clone()), self.last.1.end));
        }
        let from = match first {
            0 => *removed,
            _ => *ends.get(first - 1)?,
        };
        let limit = ends.partition_point(|end| *end <= from + BATCH).max(first + 1);
        let to = *ends.get(limit - 1)?;
        let range = cursor..self.start + limit as u64;
        if self.last.1 != range {
            let range_of_bytes = (from - removed) as usize..(to - removed) as usize;
            let copied: Vec<u8> = bytes.range(range_of_bytes).copied().collect();
            self.last = (copied.into(), range);
        }
        Some((Encoded(self.last.0.clone()), self.last.1.end))
    }
}
