//! stdout and stderr, each written by a thread of its own. A reader that stops loses lines, but it
//! delays neither a connection nor the end of the program.
//!
//! The threads of `tracing-appender` do the same. But at the end of the program they report lost
//! lines on stdout, even if stdout is not read.

use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// The bytes that may wait to be written. Lines over this limit are lost.
const WAITING: usize = 1 << 20;

/// How long the end of the program waits for a reader.
const END: Duration = Duration::from_secs(1);

/// How long a line waits for the next ones. If a server prints a thousand conversations a second,
/// one wake-up of the thread writes twenty lines. A full pipe whose writes do not block is tried
/// again after the same time.
const GATHER: Duration = Duration::from_millis(1);

/// How long a log line waits for the lines before it, so that a terminal shows it after them even
/// if the machine is busy. An unread stdout delays the log by no more than this.
const ORDER: Duration = Duration::from_millis(100);

static STDOUT: OnceLock<Output> = OnceLock::new();
static STDERR: OnceLock<Output> = OnceLock::new();

/// Stdout or stderr.
#[derive(Debug, Default)]
pub(crate) struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: Vec<u8>,
    /// Lines that are lost but not reported yet.
    lost: u64,
    /// Lines that the thread has taken but not written yet.
    unwritten: u64,
    /// Some lines could not be written, for example because the disk is full.
    has_failed: bool,
}

pub(crate) fn stdout() -> &'static Output {
    STDOUT.get_or_init(|| Output::new(&STDOUT, io::stdout(), None))
}

pub(crate) fn stderr() -> &'static Output {
    STDERR.get_or_init(|| Output::new(&STDERR, io::stderr(), Some(&STDOUT)))
}

/// Waits until everything on both is written, for a second at most, and reports the lines on stdout
/// that are lost. Returns whether all writes to stdout have succeeded.
pub(crate) fn finish() -> bool {
    let end = Instant::now() + END;
    let mut succeeded = true;
    if let Some(stdout) = STDOUT.get() {
        stdout.written(end);
        let lines = stdout.lines.lock();
        let lost = lines.lost + lines.unwritten + count(&lines.waiting);
        succeeded = !lines.has_failed;
        drop(lines);
        if lost > 0 {
            _ = stderr().write_all(format!("(lines lost on stdout: {lost})\n").as_bytes());
        }
    }
    if let Some(stderr) = STDERR.get() {
        // If stdout took all the time, stderr gets a little more for the line above.
        stderr.written(end.max(Instant::now() + END / 2));
    }
    succeeded
}

/// Writes `bytes` to stdout, and waits until they are written, even if the pipe is full and its
/// writes do not block.
///
/// # Errors
///
/// One sentence, with the kind of the system's error. It is `BrokenPipe` if the reader has closed
/// the pipe.
pub fn write_stdout(bytes: &[u8]) -> io::Result<()> {
    write(&mut io::stdout(), bytes).map_err(explain)
}

fn explain(error: io::Error) -> io::Error {
    let hint = "let a program read it, or redirect it to a file on a disk with free space";
    io::Error::new(error.kind(), format!("cannot write to stdout ({error}); {hint}"))
}

fn write(stream: &mut impl Write, mut rest: &[u8]) -> io::Result<()> {
    loop {
        let result = match rest.is_empty() {
            true => stream.flush().map(|()| None),
            false => stream.write(rest).map(Some),
        };
        match result {
            Ok(None) => return Ok(()),
            Ok(Some(0)) => return Err(ErrorKind::WriteZero.into()),
            Ok(Some(written)) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(GATHER),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Splits off as many whole lines as a pipe takes at once (`PIPE_BUF` of Linux). So if its reader
/// stops, no line is torn, and the number of lost lines is exact.
fn split_lines(rest: &[u8]) -> (&[u8], &[u8]) {
    let most = rest.split_at_checked(4096).map_or(rest, |(most, _)| most);
    let end = most.iter().rposition(|byte| *byte == b'\n').map_or(most.len(), |at| at + 1);
    rest.split_at(end)
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

impl Output {
    fn new(
        this: &'static OnceLock<Self>,
        mut stream: impl Write + Send + 'static,
        after: Option<&'static OnceLock<Self>>,
    ) -> Self {
        thread::spawn(move || {
            let output = this.wait();
            loop {
                let nothing = |lines: &mut Lines| lines.waiting.is_empty();
                output.changed.wait_while(&mut output.lines.lock(), nothing);
                thread::sleep(GATHER);
                if let Some(first) = after.and_then(OnceLock::get) {
                    first.written(Instant::now() + ORDER);
                }
                let failed = output.write_batch(&mut stream).err();
                output.settle(failed, after.is_none());
            }
        });
        Self::default()
    }

    /// Prints a line, and gives it a moment to be written before the lines of another output.
    pub(crate) fn print(mut self: &Self, line: &str) {
        _ = self.write_all(format!("{line}\n").as_bytes());
        self.written(Instant::now() + ORDER);
    }

    /// Waits until everything is written, but no longer than this time.
    fn written(&self, end: Instant) {
        let unwritten = |lines: &mut Lines| lines.unwritten > 0 || !lines.waiting.is_empty();
        _ = self.changed.wait_while_until(&mut self.lines.lock(), unwritten, end);
    }

    fn write_batch(&self, stream: &mut impl Write) -> io::Result<()> {
        let batch = self.take();
        let mut rest = batch.as_slice();
        while !rest.is_empty() {
            let (lines, after) = split_lines(rest);
            write(stream, lines)?;
            rest = after;
            // The last line may stand for all that were lost, so it counts as unwritten until the end.
            let written = count(lines);
            let mut now = self.lines.lock();
            now.unwritten = now.unwritten.saturating_sub(written).max(1);
        }
        Ok(())
    }

    fn take(&self) -> Vec<u8> {
        let mut lines = self.lines.lock();
        let mut batch = std::mem::take(&mut lines.waiting);
        lines.unwritten = count(&batch) + lines.lost;
        if lines.lost > 0 {
            batch.extend(format!("({} lines were lost)\n", lines.lost).bytes());
            lines.lost = 0;
        }
        batch
    }

    /// Counts the lines that a failed write lost. Reports the first failure, unless the reader
    /// closed the pipe.
    fn settle(&self, failed: Option<io::Error>, is_stdout: bool) {
        let mut lines = self.lines.lock();
        let unwritten = std::mem::take(&mut lines.unwritten);
        if let Some(error) = failed.filter(|error| error.kind() != ErrorKind::BrokenPipe) {
            lines.lost += unwritten;
            if !std::mem::replace(&mut lines.has_failed, true) && is_stdout {
                _ = stderr().write_all(format!("{}\n", explain(error)).as_bytes());
            }
        }
        self.changed.notify_all();
    }
}

/// Takes whole lines.
impl Write for &Output {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut now = self.lines.lock();
        if now.waiting.len() + lines.len() > WAITING {
            now.lost += count(lines);
        } else {
            now.waiting.extend(lines);
            // This only reads a flag while no thread waits.
            self.changed.notify_all();
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
