//! Log lines on stderr, and no more of them a second than a person can use.
//!
//! stdout belongs to the conversation, as in the original. `RUST_LOG` sets the level, `info` by
//! default. A peer that does wrong as fast as it can must not fill the disk: what is over the
//! limit is counted, and the count is logged.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::output::stderr;
use crate::text::printable;

/// How many lines are written in a second: about as many as a screen holds.
pub const LINES_PER_SECOND: u32 = 50;

/// Starts logging, unless somebody has. A panic becomes one log line, without a backtrace.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        // On a terminal that has colours, unless NO_COLOR or CLICOLOR says otherwise.
        .with_ansi(AutoStream::choice(&io::stderr()) != ColorChoice::Never)
        .with_writer(Bounded::new(stderr, LINES_PER_SECOND))
        .try_init();
    if started.is_err() {
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        // What `panic!` carries is a literal or a formatted text.
        let reason = panic.payload();
        let literal = reason.downcast_ref::<&str>().copied();
        let reason = literal.or_else(|| reason.downcast_ref::<String>().map(String::as_str));
        let reason = reason.unwrap_or("no reason given");
        tracing::error!("panic at {place}: {}", printable(reason));
    }));
}

/// A writer that lets a limited number of lines through each second.
#[derive(Debug)]
pub struct Bounded<W> {
    open: W,
    limit: u32,
    now: Mutex<Second>,
}

#[derive(Debug)]
struct Second {
    began: Instant,
    written: u32,
    left_out: u64,
}

impl<W> Bounded<W> {
    /// Writes at most `limit` lines a second to what `open` makes.
    pub fn new(open: W, limit: u32) -> Self {
        let now = Second { began: Instant::now(), written: 0, left_out: 0 };
        Self { open, limit, now: Mutex::new(now) }
    }

    /// Whether one more line may be written now, and how many were left out before it.
    fn admit(&self) -> (bool, u64) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.began.elapsed() >= Duration::from_secs(1) {
            now.began = Instant::now();
            now.written = 0;
        }
        if now.written >= self.limit {
            now.left_out += 1;
            return (false, 0);
        }
        now.written += 1;
        (true, std::mem::take(&mut now.left_out))
    }
}

impl<'a, W: Fn() -> O + 'a, O: Write> MakeWriter<'a> for Bounded<W> {
    type Writer = Line<O>;

    // Called once for each line.
    fn make_writer(&'a self) -> Line<O> {
        match self.admit() {
            (true, left_out) => {
                let mut out = (self.open)();
                if left_out > 0 {
                    let line = format!("({left_out} log lines were left out)\n");
                    _ = out.write_all(line.as_bytes());
                }
                Line(Some(out))
            }
            (false, _) => Line(None),
        }
    }
}

/// One line's writer; `None` drops the line.
#[derive(Debug)]
pub struct Line<O>(Option<O>);

impl<O: Write> Write for Line<O> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(line.len()), |out| out.write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), Write::flush)
    }
}
