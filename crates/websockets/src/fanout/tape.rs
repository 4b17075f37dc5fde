//! The tape: the messages that subscribers still have to receive.
//!
//! Every message is encoded once, as a frame, and appended. A cursor counts the messages before
//! it, so a subscriber takes everything between its cursor and the end in one write. The tape is
//! bounded, so the messages at a cursor may be gone.
//!
//! While a subscriber receives compressed messages, each message is also kept compressed. That is
//! done once for all of them and without the lock, so it happens some time after the message was
//! appended. Until then no subscriber takes the message, so the order is the same for all.

use std::ops::Range;

use bytes::Bytes;

use super::{Encoded, Frames};

/// How much the tape keeps, in bytes: over 20,000 changes of a counter. All subscribers share one
/// tape, so it costs little to let one of them fall far behind without missing anything.
const CAPACITY: usize = 1 << 20;

/// How much a subscriber takes at once, in bytes, and so holds in memory while it is slow.
const BATCH: u64 = 16 << 10;

/// How much is compressed before other tasks have their turn, in bytes: about 1 ms.
const COMPRESSED_AT_ONCE: u64 = 64 << 10;

/// The newest messages. Positions count all messages since the first one.
#[derive(Debug, Default)]
pub(super) struct Tape {
    pub(super) frames: Frames,
    /// The position of the oldest message that is kept.
    start: u64,
    /// The messages that a subscriber took last, and their positions.
    last: (Encoded, Range<u64>),
    compressed: Option<Box<Compressed>>,
}

/// The newest messages again, compressed.
#[derive(Debug)]
struct Compressed {
    frames: Frames,
    /// The position of the oldest message that is kept compressed.
    start: u64,
    /// How many subscribers receive them.
    readers: usize,
}

impl Compressed {
    /// The position of the next message that has to be compressed.
    fn end(&self) -> u64 {
        self.start + self.frames.ends.len() as u64
    }

    /// Removes the messages before `start`, which the tape has dropped.
    fn trim(&mut self, start: u64) {
        while self.start < start && self.frames.pop_front() {
            self.start += 1;
        }
        self.start = self.start.max(start);
        self.frames.shrink(CAPACITY);
    }
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
            self.last = (Encoded::default(), 0..0);
            return;
        }
        let frames = &mut self.frames;
        while frames.bytes.len() > CAPACITY && frames.ends.len() > 1 && frames.pop_front() {
            self.start += 1;
        }
        frames.shrink(CAPACITY);
        if let Some(compressed) = &mut self.compressed {
            compressed.trim(self.start);
        }
    }

    /// Counts a subscriber that receives compressed messages.
    pub(super) fn add_compressed_reader(&mut self) {
        let start = self.end();
        let new = || Box::new(Compressed { frames: Frames::default(), start, readers: 0 });
        self.compressed.get_or_insert_with(new).readers += 1;
    }

    pub(super) fn remove_compressed_reader(&mut self) {
        if let Some(compressed) = &mut self.compressed {
            compressed.readers -= 1;
            if compressed.readers == 0 {
                self.compressed = None;
            }
        }
    }

    /// Whether there are messages that have to be compressed.
    pub(super) fn has_uncompressed(&self) -> bool {
        self.compressed.as_ref().is_some_and(|compressed| compressed.end() < self.end())
    }

    /// Some of the messages that have to be compressed, and the position of the first.
    pub(super) fn uncompressed(&self) -> Option<(u64, Bytes)> {
        let position = self.compressed.as_ref()?.end();
        self.has_uncompressed().then(|| {
            let first = (position - self.start) as usize;
            let end = self.batch_end(first, COMPRESSED_AT_ONCE);
            (position, self.frames.copy(first..end))
        })
    }

    /// Adds messages that were compressed since [`uncompressed`](Self::uncompressed) returned them.
    pub(super) fn append_compressed(&mut self, first: u64, mut frames: Frames) {
        let Some(compressed) = &mut self.compressed else { return };
        // Meanwhile the tape may have dropped them.
        let dropped = compressed.end().saturating_sub(first);
        if (0..dropped).all(|_| frames.pop_front()) {
            compressed.frames.append(frames);
        }
    }

    /// The end of a batch that begins with this message: at least one message, and no more bytes
    /// than `size` if there are several.
    fn batch_end(&self, first: usize, size: u64) -> usize {
        let Frames { ends, removed, .. } = &self.frames;
        let most = removed + self.frames.begin(first) + size;
        ends.partition_point(|end| *end <= most).max(first + 1)
    }

    /// How many messages may be taken now by a subscriber that takes the one at `first` next.
    fn readable(&self, first: usize) -> usize {
        match &self.compressed {
            None => self.frames.ends.len(),
            // These were there before the first subscriber that receives compressed messages.
            Some(compressed) if first < self.older(compressed) => self.older(compressed),
            Some(compressed) => (compressed.end() - self.start) as usize,
        }
    }

    /// How many messages are older than the first one that is kept compressed.
    fn older(&self, compressed: &Compressed) -> usize {
        (compressed.start - self.start) as usize
    }

    /// These messages, and their compressed form if they have one.
    fn copy(&self, messages: Range<usize>) -> Encoded {
        let compressed = self.compressed.as_ref().and_then(|compressed| {
            let older = self.older(compressed);
            let first = messages.start.checked_sub(older)?;
            Some(compressed.frames.copy(first..messages.end - older))
        });
        Encoded { plain: self.frames.copy(messages), compressed }
    }

    /// The messages after `cursor`, as many as a subscriber takes at once but at least one if there
    /// is one, and the cursor after them. `None` if they are no longer kept.
    pub(super) fn read_from(&mut self, cursor: u64) -> Option<(Encoded, u64)> {
        let first = usize::try_from(cursor.checked_sub(self.start)?).ok()?;
        let readable = self.readable(first);
        if first >= readable {
            return Some((Encoded::default(), cursor));
        }
        // All subscribers that keep up take the same messages and share their bytes.
        if self.last.1.start == cursor && self.last.1.end == self.start + readable as u64 {
            return Some((self.last.0.clone(), self.last.1.end));
        }
        let limit = self.batch_end(first, BATCH).min(readable);
        let range = cursor..self.start + limit as u64;
        if self.last.1 != range {
            self.last = (self.copy(first..limit), range);
        }
        Some((self.last.0.clone(), self.last.1.end))
    }
}

#[cfg(test)]
mod tests;
