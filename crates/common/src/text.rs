//! A peer's text, made safe to print, and a line on stdout.

use std::fmt::{self, Display, Write};
use std::io;

/// Shows `text` with its control characters escaped.
///
/// A terminal obeys control characters: a name could move the cursor, forge a log line or change
/// the window's title. Letters, quotes and emoji stay as they are.
///
/// ```
/// assert_eq!(common::text::printable("Zoë\n\u{1b}[2J").to_string(), "Zoë\\n\\u{1b}[2J");
/// ```
pub fn printable(text: &str) -> impl Display {
    Printable(text)
}

/// Prints a line on stdout, with control characters escaped. Unlike `println!`, it does not panic
/// when nobody reads stdout any more: a server goes on without.
pub fn say(line: &str) {
    _ = io::Write::write_fmt(&mut io::stdout(), format_args!("{}\n", printable(line)));
}

struct Printable<'a>(&'a str);

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() || reorders(c) {
                write!(f, "{}", c.escape_default())?;
            } else {
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
