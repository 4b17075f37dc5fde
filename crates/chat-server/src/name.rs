//! What a name may be, and which texts are blank.

use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};
use precis_profiles::{Nickname, precis_core::profile::Profile};
use websockets::Result;

/// The limit for the name of a user or a room, in characters.
const MAX_CHARS: usize = 32;

/// The name as RFC 8266 writes a nickname, so that names that look the same are the same: without
/// outer and double spaces, and with composed letters.
///
/// # Errors
///
/// An error message if it is too long or blank, or if it contains an invisible character, for
/// example a mark that turns the direction of the text.
pub fn nickname(name: &str) -> Result<String> {
    let name = Nickname::new().enforce(name).ok().map(String::from);
    // Joiners change how the letters next to them look, so a name may have them, but not at its end.
    let is_joiner = |c: char| matches!(c, '\u{200c}' | '\u{200d}');
    let is_hidden = |c: char| c != ' ' && !is_joiner(c) && is_blank(c.encode_utf8(&mut [0; 4]));
    let is_visible = |name: &String| {
        !is_blank(name) && !name.chars().any(is_hidden) && !name.ends_with(is_joiner)
    };
    name.filter(|name| name.chars().count() <= MAX_CHARS && is_visible(name)).ok_or_else(|| {
        "invalid name; use 1 to 32 letters, digits, symbols and spaces, and no invisible characters"
            .into()
    })
}

/// Whether a room can have this name.
pub fn is_room(name: &str) -> bool {
    (1..=MAX_CHARS).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Whether a reader would see nothing.
pub fn is_blank(text: &str) -> bool {
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    // U+2800 is the braille pattern without dots.
    let is_invisible =
        |c: char| c.is_whitespace() || c.is_control() || ignorable.contains(c) || c == '\u{2800}';
    text.chars().all(is_invisible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_the_same_are_the_same() {
        for (typed, name) in [
            ("Ada", "Ada"),
            (" Ada \u{3000} Lovelace ", "Ada Lovelace"),
            ("Zoe\u{308}", "Zo\u{eb}"),
            ("\u{ff21}da", "Ada"),
            ("\u{5e9}\u{5dc}\u{5d5}\u{5dd}", "\u{5e9}\u{5dc}\u{5d5}\u{5dd}"),
        ] {
            assert_eq!(nickname(typed).unwrap(), name);
        }
    }

    #[test]
    fn a_name_with_an_invisible_character_is_invalid() {
        let long = "x".repeat(33);
        for name in [
            "",
            " ",
            "A\nB",
            "Ada\u{200b}",
            "Ada\u{200d}",
            "\u{202e}Ada",
            "Ada\u{2069}",
            "Ada\u{ad}",
            "\u{3164}",
            "\u{2800}",
            "Ada\u{2800}",
            "\u{930}\u{93e}\u{92e}\u{94d}\u{200c}",
            "Ada\u{fe0f}",
            "\u{feff}Ada",
            &long,
        ] {
            assert!(nickname(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_text_of_invisible_characters_is_blank() {
        for text in ["", " \n", "\u{200b}\u{200d}", "\u{2800}", "\u{3164}\u{fe0f}", "\u{202e}\u{7}"]
        {
            assert!(is_blank(text), "{text:?}");
        }
        for text in ["a", "\u{200b}.", "\u{1112}\u{1161}", "\u{1fae9}", "\u{301}"] {
            assert!(!is_blank(text), "{text:?}");
        }
    }
}
