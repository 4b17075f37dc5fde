//! stdout and stderr, each written by a thread of its own: whoever does not read them loses lines,
//! and holds nobody up, neither a connection nor the end of the program.
//!
//! The threads of `tracing-appender` do the same, except that at the end of the program they
//! complain on the very stdout that nobody reads.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How much waits to be read, in bytes. What is over it is lost.
const WAITING: usize = 1 << 20;

/// How long the end of the program waits for whoever reads.
const END: Duration = Duration::from_secs(1);

/// How long a line waits for those that follow it: where a thousand conversations a second are
/// printed, the thread is woken for twenty lines rather than for each.
const GATHER: Duration = Duration::from_millis(1);

/// How long a log line waits for the lines before it, so that on a terminal it comes after them
/// also where the machine is busy. Whoever does not read stdout delays the log by no more.
const ORDER: Duration = Duration::from_millis(100);

static STDOUT: OnceLock<Output> = OnceLock::new();
static STDERR: OnceLock<Output> = OnceLock::new();

/// One of the two.
#[derive(Debug, Default)]
pub(crate) struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: Vec<u8>,
    lost: u64,
    /// The thread has taken what waited, and writes it.
    writing: bool,
}

pub(crate) fn stdout() -> &'static Output {
    STDOUT.get_or_init(|| Output::new(&STDOUT, io::stdout(), None))
}

pub(crate) fn stderr() -> &'static Output {
    STDERR.get_or_init(|| Output::new(&STDERR, io::stderr(), Some(&STDOUT)))
}

/// Waits until everything on both is written, for a second at most.
pub(crate) fn finish() {
    let end = Instant::now() + END;
    for output in [&STDOUT, &STDERR].into_iter().filter_map(OnceLock::get) {
        output.written(end);
    }
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
                let batch = output.take();
                // Nobody may be there to read it any more.
                _ = stream.write_all(&batch).and_then(|()| stream.flush());
                output.lines.lock().writing = false;
                output.changed.notify_all();
            }
        });
        Self::default()
    }

    /// Waits until everything is written, or it is that late.
    fn written(&self, end: Instant) {
        let unwritten = |lines: &mut Lines| lines.writing || !lines.waiting.is_empty();
        _ = self.changed.wait_while_until(&mut self.lines.lock(), unwritten, end);
    }

    fn take(&self) -> Vec<u8> {
        let mut lines = self.lines.lock();
        lines.writing = true;
        let mut batch = std::mem::take(&mut lines.waiting);
        if lines.lost > 0 {
            batch.extend(format!("({} lines were lost)\n", lines.lost).bytes());
            lines.lost = 0;
        }
        batch
    }
}

/// Takes whole lines.
impl Write for &Output {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut now = self.lines.lock();
        if now.waiting.len() + lines.len() > WAITING {
            now.lost += 1;
        } else {
            now.waiting.extend(lines);
            // Costs a look at a flag while nobody waits.
            self.changed.notify_all();
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
