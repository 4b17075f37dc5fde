//! A peer's text, made safe to print, and a line on stdout.

use std::fmt::{self, Display, Write as _};
use std::io::Write as _;

use crate::output::stdout;

/// How much is shown of one text, in bytes: two screens.
const SHOWN: usize = 4096;

/// Shows `text` with its control characters escaped, and no more of it than a person reads.
///
/// A terminal obeys control characters: a name could move the cursor, forge a log line or change
/// the window's title. Letters, quotes and emoji stay as they are. A mebibyte of control
/// characters would become six.
///
/// ```
/// assert_eq!(common::text::printable("Zoë\n\u{1b}[2J").to_string(), "Zoë\\n\\u{1b}[2J");
/// ```
pub fn printable(text: &str) -> impl Display {
    Escaped { text, most: SHOWN }
}

/// The same, whole: for a program whose output is what a peer says.
pub fn escaped(text: &str) -> impl Display {
    Escaped { text, most: usize::MAX }
}

/// Prints a line on stdout, with control characters escaped. Unlike `println!`, it neither waits
/// for whoever reads stdout nor panics when nobody does any more: a server goes on without.
pub fn say(line: &str) {
    _ = stdout().write_all(format!("{}\n", printable(line)).as_bytes());
}

struct Escaped<'a> {
    text: &'a str,
    /// How much is shown, in bytes.
    most: usize,
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = 0;
        for (at, c) in self.text.char_indices() {
            if shown > self.most {
                return write!(f, "\u{2026} ({} bytes more)", self.text.len() - at);
            }
            if c.is_control() || reorders(c) {
                let escaped = c.escape_default();
                shown += escaped.len();
                write!(f, "{escaped}")?;
            } else {
                shown += c.len_utf8();
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Line separators, and the marks that make a terminal show text in another order than it has
/// (the "Trojan Source" characters, Unicode Standard Annex #9).
fn reorders(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
