//! Log lines on stderr, with a limit for each second.
//!
//! stdout is for the conversation, as in the Python version. `RUST_LOG` sets the level, `info` by
//! default. A peer that causes errors as fast as it can must not fill the disk. So the lines over
//! the limit are only counted, and the log shows their number.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::OptionalWriter;

use crate::output::{Output, stderr};
use crate::text::printable;

/// How many lines are written in a second: about as many as a screen holds.
pub const LINES_PER_SECOND: u32 = 50;

/// Starts logging, unless it is started already. A panic becomes one log line, without a backtrace.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let second = Mutex::new(Second { began: Instant::now(), written: 0, left_out: 0 });
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        // Use colours on a terminal that has them, unless NO_COLOR or CLICOLOR forbids it.
        .with_ansi(AutoStream::choice(&io::stderr()) != ColorChoice::Never)
        // Called once for each line.
        .with_writer(move || second.lock().line())
        .try_init();
    if started.is_err() {
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        // The payload of `panic!` is a literal or a formatted text.
        let reason = panic.payload();
        let literal = reason.downcast_ref::<&str>().copied();
        let reason = literal.or_else(|| reason.downcast_ref::<String>().map(String::as_str));
        let reason = reason.unwrap_or("no reason given");
        tracing::error!("panic at {place}: {}", printable(reason));
    }));
}

/// The lines logged in the current second.
#[derive(Debug)]
struct Second {
    began: Instant,
    written: u32,
    left_out: u64,
}

impl Second {
    /// The writer of one more line, which may be left out.
    fn line(&mut self) -> OptionalWriter<&'static Output> {
        if self.began.elapsed() >= Duration::from_secs(1) {
            self.began = Instant::now();
            self.written = 0;
        }
        if self.written == LINES_PER_SECOND {
            self.left_out += 1;
            return OptionalWriter::none();
        }
        self.written += 1;
        let mut out = stderr();
        if self.left_out > 0 {
            let line = format!("({} log lines were left out)\n", self.left_out);
            _ = out.write_all(line.as_bytes());
            self.left_out = 0;
        }
        OptionalWriter::some(out)
    }
}
