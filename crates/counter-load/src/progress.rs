//! A progress bar for a person. If stdout is not a terminal, a program reads the report, and there
//! is no bar.

use std::io::{IsTerminal, stdout};

use indicatif::{ProgressDrawTarget, ProgressStyle};

/// A progress bar on stderr. It is erased when it is dropped.
pub struct ProgressBar(indicatif::ProgressBar);

impl ProgressBar {
    /// A bar with a label. It is full at position `end`.
    pub fn new(label: &'static str, end: u64) -> Self {
        // indicatif draws nothing if stderr is not a terminal.
        let target = match stdout().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = indicatif::ProgressBar::with_draw_target(Some(end), target).with_message(label);
        if let Ok(style) = ProgressStyle::with_template("{msg:12} {wide_bar} {percent:>3} %") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Moves the bar. A busy loop may call this often, because indicatif redraws only sometimes.
    pub fn set_position(&self, position: u64) {
        self.0.set_position(position);
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
