//! A progress bar for a person. If stdout is not a terminal, a program reads the report, and there
//! is no bar.

use std::io::{IsTerminal, stdout};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar on stderr with a label. It is full at position `end`, and is erased when it is
/// dropped. A busy loop may move it often, because indicatif redraws only sometimes.
pub fn progress_bar(label: &'static str, end: u64) -> ProgressBar {
    // indicatif draws nothing if stderr is not a terminal.
    let target = match stdout().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let style = ProgressStyle::with_template("{msg:12} {wide_bar} {percent:>3} %");
    let bar = ProgressBar::with_draw_target(Some(end), target).with_message(label);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
