//! What was said to everyone, and where each subscriber is in it.
//!
//! Every message is encoded once, as a frame, and appended. Who has a cursor into the tape takes
//! all that lies between it and the end, in one write. The tape is bounded: a cursor may point
//! to what is no longer there.

use std::ops::Range;

use bytes::Bytes;

use super::Frames;

/// How much of the past is kept, in bytes: over 20,000 changes of a counter. There is one tape for
/// all subscribers, so that it costs little to let one fall far behind without missing anything.
const KEPT: usize = 1 << 20;

/// How much a subscriber takes at once, in bytes: what a slow one holds in memory.
const BATCH: usize = 16 << 10;

/// The newest frames. Positions count bytes since the first frame ever.
#[derive(Debug, Default)]
pub(super) struct Tape {
    pub(super) frames: Frames,
    start: u64,
    /// What a subscriber took last, and from where to where it goes.
    last: (Bytes, Range<u64>),
}

impl Tape {
    /// Where the next frame will go.
    pub(super) fn end(&self) -> u64 {
        self.start + self.frames.0.len() as u64
    }

    /// Forgets the oldest frames over the bound. The newest stays, however long it is.
    pub(super) fn trim(&mut self) {
        let length = self.frames.0.len();
        let mut cut = 0;
        while length - cut > KEPT {
            let first = self.frames.frame_at(cut);
            if first == 0 || cut + first == length {
                break;
            }
            cut += first;
        }
        self.frames.0.drain(..cut);
        self.start += cut as u64;
        // One long message must not cost its length for ever.
        if self.frames.0.capacity() > 4 * KEPT && self.frames.0.len() <= KEPT {
            self.frames.0.shrink_to(2 * KEPT);
        }
    }

    /// The whole frames after `cursor`, as many as one takes, but always one if there is one; and
    /// where they end. `None` if they are no longer there.
    pub(super) fn after(&mut self, cursor: u64) -> Option<(Bytes, u64)> {
        let from = usize::try_from(cursor.checked_sub(self.start)?).ok()?;
        let mut to = self.frames.0.len();
        if to - from > BATCH {
            to = from + self.frames.frame_at(from);
            while to + self.frames.frame_at(to) - from <= BATCH {
                to += self.frames.frame_at(to);
            }
        }
        let end = self.start + to as u64;
        if to == from {
            return Some((Bytes::new(), cursor));
        }
        // Those who keep up all take the same, and share it.
        let range = cursor..end;
        if self.last.1 != range {
            let frames: Vec<u8> = self.frames.0.range(from..to).copied().collect();
            self.last = (frames.into(), range);
        }
        Some((self.last.0.clone(), end))
    }
}
