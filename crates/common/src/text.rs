//! A peer's text, made safe to print, and lines on stdout.

use std::fmt::{self, Display, Write as _};
use std::io::Write as _;

use crate::output::{stderr, stdout};

/// How much of one text is displayed, in bytes: two screens.
const MAX_DISPLAYED: usize = 4096;

/// Displays `text` with its control characters escaped, and at most 4 KiB of it.
///
/// A terminal obeys control characters: a name could move the cursor, forge a log line or change
/// the window's title. Letters, quotes and emoji stay as they are. The limit is there because 1 MiB
/// of control characters would become 6 MiB.
///
/// ```
/// assert_eq!(common::printable("Zoë\n\u{1b}[2J").to_string(), "Zoë\\n\\u{1b}[2J");
/// ```
pub fn printable(text: &str) -> impl Display {
    Escaped { text, most: MAX_DISPLAYED }
}

/// Displays all of `text` with its control characters escaped, for a program whose output is the
/// text of a peer.
pub fn escaped(text: &str) -> impl Display {
    Escaped { text, most: usize::MAX }
}

/// Prints a line on stdout, with control characters escaped. Unlike `println!`, it does not wait
/// until stdout is read, and it does not panic if stdout is closed, so a server continues without
/// it.
pub fn print_line(line: &str) {
    _ = stdout().write_all(format!("{}\n", printable(line)).as_bytes());
}

/// Prints a line on stderr as it is, without a time. Like [`print_line`], it does not wait until
/// stderr is read. But on a terminal the line appears before any line that is printed later.
pub fn print_status(line: &str) {
    stderr().print(line);
}

struct Escaped<'a> {
    text: &'a str,
    /// How much is displayed, in bytes.
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
/// (`Bidi_Control` of the Unicode Standard, Annex #9).
fn reorders(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use testing::property::{check, text};

    use super::*;

    /// Characters that a terminal obeys, and text that looks like an escape already.
    const SPECIAL: [&str; 20] = [
        "\u{1b}[2J",
        "\n",
        "\r",
        "\t",
        "\0",
        "\u{7f}",
        "\u{9b}",
        "\u{85}",
        "\u{2028}",
        "\u{202e}",
        "\u{2066}",
        "\u{2069}",
        "\u{200e}",
        "\u{200f}",
        "\u{61c}",
        "\\",
        "\\n",
        "\\u{1b}",
        "🦀",
        "שלום",
    ];

    /// The characters that reorder text (Bidi_Control of the Unicode Standard).
    fn is_bidirectional(c: char) -> bool {
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    }

    #[test]
    fn printable_text_cannot_control_a_terminal() {
        check(2000, |input| {
            let text = text(input, &SPECIAL, 40)?;
            let shown = escaped(&text).to_string();
            assert!(!shown.contains(|c: char| c.is_control() || is_bidirectional(c)), "{shown:?}");
            // Only these characters have changed, and printable ones stay as they are.
            let again: String = text
                .chars()
                .map(|c| {
                    match c.is_control() || is_bidirectional(c) || "\u{2028}\u{2029}".contains(c) {
                        true => c.escape_default().to_string(),
                        false => c.into(),
                    }
                })
                .collect();
            assert_eq!(shown, again);
            assert_eq!(escaped(&shown).to_string(), shown);
            Ok(())
        });
    }

    #[test]
    fn a_long_text_is_cut_and_its_rest_counted() {
        check(500, |input| {
            let part = text(input, &SPECIAL, 20)?;
            let text = part.repeat(input.int_in_range(0..=500)?);
            let (whole, cut) = (escaped(&text).to_string(), printable(&text).to_string());
            match cut.split_once('\u{2026}').filter(|_| whole.len() > MAX_DISPLAYED) {
                Some((start, note)) => {
                    assert!(whole.starts_with(start));
                    assert!(
                        (MAX_DISPLAYED..MAX_DISPLAYED + 16).contains(&start.len()),
                        "{}",
                        start.len()
                    );
                    let rest: usize = note[2..].split(' ').next().unwrap().parse().unwrap();
                    let rest = &text[text.len() - rest..];
                    assert_eq!(whole, format!("{start}{}", escaped(rest)));
                }
                None => assert_eq!(cut, whole),
            }
            Ok(())
        });
    }
}
