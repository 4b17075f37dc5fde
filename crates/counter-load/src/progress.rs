//! A progress bar for a person; a program that reads the report sees none.

use std::io::{IsTerminal, stdout};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on stderr. It is wiped off when it is dropped.
pub struct Bar(ProgressBar);

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
        Self(bar)
    }

    /// Moves it. Cheap enough for every turn of a busy loop: it is drawn now and then.
    pub fn at(&self, position: u64) {
        self.0.set_position(position);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
