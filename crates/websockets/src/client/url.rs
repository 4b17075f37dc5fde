//! A `ws://` or `wss://` URL and its parts (RFC 6455, section 3).

use std::fmt;

use data_encoding::BASE64;
use percent_encoding::percent_decode_str;
use tungstenite::http::HeaderValue;
use url::{ParseError, Position, Url};

use crate::Result;
use crate::printable;

/// Where to connect to. Its `Display` leaves the credentials out: what is printed ends up in logs
/// and on other people's screens.
#[derive(Clone, Debug)]
pub(super) struct Target(Url);

impl Target {
    /// Any case of the scheme will do, IPv6 stands in brackets, a name may have letters beyond
    /// ASCII.
    ///
    /// # Errors
    ///
    /// A sentence, without the credentials, for what is no WebSocket's URL.
    pub(super) fn parse(text: &str) -> Result<Self> {
        Self::checked(Url::parse(text), text)
    }

    /// The target of a redirect, which may be relative to this one.
    ///
    /// # Errors
    ///
    /// A sentence when it is no WebSocket's URL.
    pub(super) fn join(&self, location: &str) -> Result<Self> {
        match self.0.join(location) {
            // What a proxy in front of a web site does; the person knows whether it is meant.
            Ok(url) if matches!(url.scheme(), "http" | "https") => Err(format!(
                "{self} redirects to {}, which is no WebSocket; give that server's ws:// or \
                 wss:// URL",
                shown(&url)
            )
            .into()),
            joined => Self::checked(joined, location)
                .map_err(|error| format!("{self} redirects, but {error}").into()),
        }
    }

    fn checked(parsed: std::result::Result<Url, ParseError>, text: &str) -> Result<Self> {
        // The credentials end at the last @; what of them is left of it is nobody's business.
        let text = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
        let text = printable(text);
        let sentence = match parsed {
            Ok(url) if matches!(url.scheme(), "ws" | "wss") => match url.fragment() {
                None => return Ok(Self(url)),
                Some(_) => format!(
                    "{} has a fragment, which means nothing to a WebSocket; leave out what follows \
                     the #, or write %23 for it",
                    shown(&url)
                ),
            },
            Err(ParseError::InvalidPort) => {
                format!("the port of {text} is no number up to 65535")
            }
            _ => {
                format!("\"{text}\" is not a WebSocket's URL; give one like ws://localhost:8765")
            }
        };
        Err(sentence.into())
    }

    /// Whether it is `wss://`.
    pub(super) fn secure(&self) -> bool {
        self.0.scheme() == "wss"
    }

    /// The host, without the brackets of IPv6.
    pub(super) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// The port that it names, or its scheme's.
    pub(super) fn port(&self) -> u16 {
        // Both schemes have a default, 80 and 443.
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Whether `other` is the same server, spoken to in the same way.
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }

    /// Name and password as Basic (RFC 7617), when the URL has them.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        if self.0.username().is_empty() && self.0.password().is_none() {
            return None;
        }
        let mut credentials: Vec<u8> = percent_decode_str(self.0.username()).collect();
        credentials.push(b':');
        credentials.extend(percent_decode_str(self.0.password().unwrap_or_default()));
        let mut value =
            HeaderValue::try_from(format!("Basic {}", BASE64.encode(&credentials))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The whole URL, with its credentials.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The same with the scheme of HTTP: what the rules for proxies speak of.
    pub(super) fn as_http(&self) -> String {
        self.as_str().replacen("ws", "http", 1)
    }
}

/// Without credentials, and without the slash that nobody typed.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

fn shown(url: &Url) -> String {
    let (after, scheme) = (&url[Position::BeforeHost..], url.scheme());
    let after =
        if &url[Position::BeforePath..] == "/" { after.trim_end_matches('/') } else { after };
    format!("{scheme}://{after}")
}

#[cfg(test)]
mod tests {
    use testing::property::{check, text};

    use super::Target;

    #[test]
    fn a_url_has_a_host_and_a_port_and_any_case_will_do() {
        for (url, secure, host, port, shown) in [
            ("ws://localhost:8765", false, "localhost", 8765, "ws://localhost:8765"),
            ("WS://LocalHost/", false, "localhost", 80, "ws://localhost"),
            ("Wss://example.com/a?b=c", true, "example.com", 443, "wss://example.com/a?b=c"),
            ("wss://[::1]:443", true, "::1", 443, "wss://[::1]"),
            (
                "ws://bücher.example",
                false,
                "xn--bcher-kva.example",
                80,
                "ws://xn--bcher-kva.example",
            ),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(
                (target.secure(), target.host(), target.port(), target.to_string().as_str()),
                (secure, host, port, shown)
            );
        }
    }

    #[test]
    fn what_is_no_url_is_refused_in_a_sentence_without_its_password() {
        for (url, says) in [
            ("localhost:8765", "is not a WebSocket's URL"),
            ("http://ada:secret@localhost", "\"localhost\" is not a WebSocket's URL"),
            ("ws://ada:secret@local host", "\"local host\" is not a WebSocket's URL"),
            ("ws://", "is not a WebSocket's URL"),
            ("ws://localhost:99999", "the port of ws://localhost:99999 is no number up to 65535"),
            ("wss://ada:secret@localhost:65536", "the port of localhost:65536 is no number"),
            ("ws://ada:secret@localhost/#top", "ws://localhost/#top has a fragment"),
            ("ws://localhost/#", "has a fragment"),
        ] {
            let sentence = Target::parse(url).unwrap_err().to_string();
            assert!(sentence.contains(says), "{sentence}");
            assert!(!sentence.contains("secret"), "{sentence}");
        }
    }

    #[test]
    fn credentials_are_basic_and_are_not_shown() {
        let target = Target::parse("ws://Al%20addin:open%3Asesame@localhost:80/a").unwrap();
        // base64 of "Al addin:open:sesame"
        assert_eq!(target.authorization().unwrap(), "Basic QWwgYWRkaW46b3BlbjpzZXNhbWU=");
        assert_eq!(target.to_string(), "ws://localhost/a");
        assert_eq!(Target::parse("ws://localhost").unwrap().authorization(), None);
    }

    #[test]
    fn a_redirect_may_be_relative() {
        let target = Target::parse("wss://ada:secret@localhost:1/a/b?c").unwrap();
        for (location, url) in [
            ("d", "wss://localhost:1/a/d"),
            ("/d", "wss://localhost:1/d"),
            ("//other/d", "wss://other/d"),
            ("ws://other:2", "ws://other:2"),
        ] {
            assert_eq!(target.join(location).unwrap().to_string(), url);
        }
        // On the same server the credentials stay, as in Python's urljoin.
        assert!(target.join("/d").unwrap().authorization().is_some());
        assert!(target.join("//other/d").unwrap().authorization().is_none());
        let web = target.join("https://eve:x@site.example/").unwrap_err().to_string();
        assert!(web.contains("redirects to https://site.example, which is no WebSocket"), "{web}");
    }

    #[test]
    fn no_output_has_the_password_of_a_url() {
        const PARTS: [&str; 20] = [
            "ws://",
            "WSS://",
            "http://",
            "//",
            "@",
            ":",
            "/",
            "\\",
            "?",
            "#",
            "[",
            "]",
            "[::1]",
            "localhost",
            ":8765",
            ":99999",
            "%00",
            "\u{202e}",
            "\u{1b}",
            "\u{e9}",
        ];
        let target = Target::parse("ws://ada:s3cr3t@localhost:1/a/b").unwrap();
        check(3000, |input| {
            let scheme = input.choose(&["ws://", "Wss://", "http://", "//", ""])?;
            // A slash would end the credentials.
            let user =
                text(input, &["@", ":", "%", "\u{e9}"], 3)?.replace(['/', '\\', '?', '#'], "");
            let url = format!("{scheme}{user}:s3cr3t@{}", text(input, &PARTS, 6)?);
            // Without a scheme it is a path on the same server, which has no credentials.
            let joined = (!scheme.is_empty()).then(|| target.join(&url));
            for read in [Some(Target::parse(&url)), joined].into_iter().flatten() {
                let shown = match &read {
                    Ok(target) => target.to_string(),
                    Err(error) => error.to_string(),
                };
                assert!(!shown.contains("s3cr3t"), "{shown}");
                assert!(!shown.contains(char::is_control), "{shown:?}");
                let Ok(read) = read else { continue };
                let again = Target::parse(&shown).unwrap();
                let parts =
                    |target: &Target| (target.secure(), target.host().to_owned(), target.port());
                assert_eq!(parts(&again), parts(&read), "{shown}");
                assert_eq!(again.to_string(), shown);
                assert!(again.authorization().is_none());
            }
            Ok(())
        });
    }
}
