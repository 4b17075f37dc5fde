//! A progress bar for a person; a program that reads the report sees none.

use std::cell::Cell;
use std::io::{IsTerminal, stdout};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often it is drawn.
const PAUSE: Duration = Duration::from_millis(100);

/// A bar on stderr. It is wiped off when it is dropped.
pub struct Bar {
    bar: ProgressBar,
    drawn: Cell<Instant>,
}

impl Bar {
    /// A bar that is full at `end`.
    pub fn new(what: &'static str, end: u64) -> Self {
        // indicatif itself draws nothing when stderr is no terminal.
        let to = match stdout().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(end), to).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg:12} {wide_bar} {percent:>3} %") {
            bar.set_style(style);
        }
        Self { bar, drawn: Cell::new(Instant::now()) }
    }

    /// Moves it.
    pub fn at(&self, position: u64) {
        // Cheap enough for every turn of a busy loop.
        if self.drawn.get().elapsed() >= PAUSE {
            self.drawn.set(Instant::now());
            self.bar.set_position(position);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
