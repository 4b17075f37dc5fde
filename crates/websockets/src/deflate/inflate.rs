//! Inflates messages piece by piece, so that a message that would become too large is noticed
//! before it takes memory.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, ErrorKind};

use flate2::{Decompress, FlushDecompress, Status};
use tungstenite::Error;
use tungstenite::error::CapacityError;

use super::compress::TAIL;
use super::negotiation::Deflate;

/// An empty last block. If it is not read as one, the data was cut off.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// How much is inflated at once, in bytes.
const OUTPUT: usize = 1024;

/// How many inflaters a thread keeps for the next messages. Each has 40 KiB.
const MOST_KEPT: usize = 4;

thread_local! {
    static INFLATERS: RefCell<Vec<Decompress>> = const { RefCell::new(Vec::new()) };
}

/// Inflates the messages of one connection.
///
/// A peer that keeps no window needs an inflater only during a message, so it takes one that is
/// free.
pub(crate) struct Inflater {
    zlib: Option<Decompress>,
    keeps_window: bool,
    /// A last block has ended, and no byte has followed it.
    has_ended: bool,
    /// How many bytes of [`TAIL`] and [`LAST_BLOCK`] were read.
    tail_read: usize,
    /// The compressed length of the current message as far as its frames have announced it.
    pub(crate) announced: u64,
}

impl Inflater {
    pub(crate) fn new(deflate: Deflate) -> Self {
        let keeps_window = deflate.peer_keeps_window;
        Self { zlib: None, keeps_window, has_ended: false, tail_read: 0, announced: 0 }
    }

    /// Whether it is needed between messages, too.
    pub(crate) fn keeps_window(&self) -> bool {
        self.keeps_window
    }

    /// Appends to `message` the data that the next compressed bytes hold.
    ///
    /// # Errors
    ///
    /// This is not what a compressor wrote, or the message is larger than `max_size`.
    #[cold]
    pub(crate) fn inflate_into(
        &mut self,
        message: &mut Vec<u8>,
        mut piece: &[u8],
        max_size: usize,
    ) -> Result<(), Error> {
        let mut output = [0; OUTPUT];
        while !piece.is_empty() {
            let (read, written) = self.inflate(piece, &mut output)?;
            append(message, output.get(..written).unwrap_or_default(), max_size)?;
            piece = piece.get(read..).unwrap_or_default();
            if read == 0 && written == 0 {
                return Err(invalid().into());
            }
        }
        Ok(())
    }

    /// Completes `message`.
    ///
    /// # Errors
    ///
    /// The message was cut off, or is larger than `max_size`. A message that is cut off cannot be
    /// noticed if the peer keeps its window.
    pub(crate) fn finish_into(
        &mut self,
        message: &mut Vec<u8>,
        max_size: usize,
    ) -> Result<(), Error> {
        let mut output = [0; OUTPUT];
        loop {
            let (written, is_last) = self.finish(&mut output)?;
            append(message, output.get(..written).unwrap_or_default(), max_size)?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Inflates the next bytes of a message. Returns how many it has read, and how many it has
    /// written. If `output` is full, there may be more, even if all of `input` was read.
    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<(usize, usize)> {
        let new = || INFLATERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| Decompress::new(false));
        let zlib = self.zlib.get_or_insert_with(new);
        let (mut read, mut written) = (0, 0);
        while let (Some(from), Some(to)) = (input.get(read..), output.get_mut(written..)) {
            if self.has_ended && !from.is_empty() {
                // The next block begins a stream of its own, as for Chromium and WebKit.
                zlib.reset(false);
                self.has_ended = false;
            }
            let (before_in, before_out) = (zlib.total_in(), zlib.total_out());
            let status = zlib.decompress(from, to, FlushDecompress::Sync).map_err(|_| invalid())?;
            let step = (zlib.total_in() - before_in, zlib.total_out() - before_out);
            read += step.0 as usize;
            written += step.1 as usize;
            self.has_ended |= status == Status::StreamEnd;
            if step == (0, 0) || written == output.len() || read == input.len() && self.has_ended {
                break;
            }
        }
        Ok((read, written))
    }

    /// Inflates the end of a message. Returns how many bytes it has written, and whether that was
    /// everything.
    fn finish(&mut self, output: &mut [u8]) -> io::Result<(usize, bool)> {
        // The peer has left out the tail, unless the last block was marked as such.
        let tail = [&TAIL[..], if self.keeps_window { &[] } else { &LAST_BLOCK }].concat();
        let mut written = 0;
        if !(self.has_ended && self.tail_read == 0) {
            let rest = tail.get(self.tail_read..).unwrap_or_default();
            let read;
            (read, written) = self.inflate(rest, output)?;
            self.tail_read += read;
            if written == output.len() {
                return Ok((written, false));
            }
            if self.tail_read < tail.len() || !self.keeps_window && !self.has_ended {
                return Err(invalid());
            }
        }
        self.tail_read = 0;
        self.announced = 0;
        if !self.keeps_window {
            self.release();
        }
        Ok((written, true))
    }

    /// Leaves the inflater for the next message of any connection.
    fn release(&mut self) {
        self.has_ended = false;
        if let Some(mut zlib) = self.zlib.take() {
            zlib.reset(false);
            INFLATERS.with_borrow_mut(|kept| {
                if kept.len() < MOST_KEPT {
                    kept.push(zlib);
                }
            });
        }
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("keeps_window", &self.keeps_window).finish_non_exhaustive()
    }
}

fn append(message: &mut Vec<u8>, more: &[u8], max_size: usize) -> Result<(), Error> {
    message.extend_from_slice(more);
    let size = message.len();
    match size > max_size {
        true => Err(CapacityError::MessageTooLong { size, max_size }.into()),
        false => Ok(()),
    }
}

/// Compressed data that cannot be inflated.
#[derive(Debug)]
struct InvalidData;

impl fmt::Display for InvalidData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a compressed message does not inflate")
    }
}

impl std::error::Error for InvalidData {}

fn invalid() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, InvalidData)
}

/// Whether `error` is about compressed data. Any other error of this kind comes from the network.
pub(crate) fn is_invalid_data(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<InvalidData>())
}

#[cfg(test)]
mod tests;
