//! The lines to send, and the thread that reads them from a pipe or a file.

use std::io::{self, BufRead, Read};
use std::iter::from_fn;

use tokio::sync::mpsc;
use websockets::{Message, Result, printable};

use crate::flags::Delimiter;

/// The number of lines that wait to be sent. It keeps the thread busy.
pub const QUEUE_SIZE: usize = 64;

/// The same for lines from the keyboard. The editor must never wait, because the terminal drops
/// pasted text that is not read.
pub const KEYBOARD_QUEUE_SIZE: usize = 1 << 20;

/// The lines to send, from one connection to the next.
pub struct Input {
    /// An error if the input is not valid text. It ends when a piped input ends.
    lines: mpsc::Receiver<Result<Vec<u8>>>,
    /// The line that was taken last, until it is sent.
    unsent: Option<Message>,
    /// The number of lines that were taken.
    taken: u64,
    is_binary: bool,
}

impl Input {
    /// Takes the lines from this channel, and sends them as binary messages if `is_binary`.
    pub fn new(lines: mpsc::Receiver<Result<Vec<u8>>>, is_binary: bool) -> Self {
        Self { lines, unsent: None, taken: 0, is_binary }
    }

    /// The next line, which stays the next one until it is sent. `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// An error message if the input is not valid text.
    pub async fn next(&mut self) -> Result<Option<Message>> {
        if self.unsent.is_none() {
            let Some(line) = self.lines.recv().await.transpose()? else { return Ok(None) };
            self.taken += 1;
            self.unsent = Some(match self.is_binary {
                true => Message::binary(line),
                false => Message::text(String::from_utf8(line).map_err(|_| {
                    let hint = "convert it, for example with iconv, or send it with --binary";
                    format!("line {} of the input is not valid UTF-8; {hint}", self.taken)
                })?),
            });
        }
        Ok(self.unsent.clone())
    }

    /// Call this when the line is written to an open connection.
    pub fn sent(&mut self) {
        self.unsent = None;
    }

    /// Says which lines are not sent, if there are any.
    pub fn report_unsent(&mut self) -> Option<String> {
        let mut lines = from_fn(|| self.lines.try_recv().ok()).flatten().map(Message::binary);
        let first = self.unsent.take().or_else(|| lines.next())?;
        let more = if lines.next().is_some() { ", and the lines after it" } else { "" };
        Some(format!(
            "not sent: \"{}\"{more}",
            printable(&String::from_utf8_lossy(&first.into_data()))
        ))
    }
}

/// Reads the messages of a pipe or a file until it ends.
pub fn read(typed: &mpsc::Sender<Result<Vec<u8>>>, delimiter: Delimiter) {
    let cannot_read = |error| format!("cannot read the input ({error})").into();
    let mut input = io::stdin().lock();
    let Some(delimiter) = delimiter.byte() else {
        let mut message = Vec::new();
        let result = input.read_to_end(&mut message).map_err(cannot_read);
        if !matches!(result, Ok(0)) {
            _ = typed.blocking_send(result.map(|_| message));
        }
        return;
    };
    for line in input.split(delimiter) {
        let line = line.map_err(cannot_read).map(|mut line| {
            _ = line.pop_if(|last| delimiter == b'\n' && *last == b'\r');
            line
        });
        let failed = line.is_err();
        // Sending fails only if the session is over.
        if typed.blocking_send(line).is_err() || failed {
            return;
        }
    }
}
