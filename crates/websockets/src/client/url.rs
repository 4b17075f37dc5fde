//! A `ws://` or `wss://` URL and its parts (RFC 6455, section 3).

use std::fmt;

use data_encoding::BASE64;
use percent_encoding::percent_decode_str;
use tungstenite::http::HeaderValue;
use url::{ParseError, Position, Url};

use crate::Result;
use crate::printable;

/// The URL of the server. Its `Display` leaves out the credentials, because printed text ends up in
/// logs and on other people's screens.
#[derive(Clone, Debug)]
pub(super) struct Target {
    url: Url,
    /// The path of a Unix socket. Then the host in `url` is localhost.
    socket: Option<String>,
}

impl Target {
    /// Parses a URL. The scheme may have any case, an IPv6 address is in brackets, and a name may
    /// have letters beyond ASCII.
    ///
    /// # Errors
    ///
    /// One sentence, without the credentials, if it is not the URL of a WebSocket.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let Some((scheme, socket, path)) = split_unix(text) else {
            return Self::checked(Url::parse(text), text);
        };
        let target = Self::checked(Url::parse(&format!("{scheme}://localhost{path}")), text)?;
        Ok(Self { socket: Some(socket.to_owned()), ..target })
    }

    /// The target of a redirect, which may be relative to this one.
    ///
    /// # Errors
    ///
    /// One sentence, if it is not the URL of a WebSocket.
    pub(super) fn join(&self, location: &str) -> Result<Self> {
        match self.url.join(location) {
            // The proxy of a web site may do this. Only the user knows whether the other server is
            // meant.
            Ok(url) if matches!(url.scheme(), "http" | "https") => Err(format!(
                "{self} redirects to {}, which is not a WebSocket URL; pass the ws:// or wss:// \
                 URL of that server",
                shown(&url)
            )
            .into()),
            joined => {
                let mut next = Self::checked(joined, location)
                    .map_err(|error| format!("{self} redirects, but {error}"))?;
                if next.url.origin() == self.url.origin() {
                    next.socket.clone_from(&self.socket);
                }
                Ok(next)
            }
        }
    }

    fn checked(parsed: std::result::Result<Url, ParseError>, text: &str) -> Result<Self> {
        // Leave out the credentials, which end at the last @.
        let text = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
        let text = printable(text);
        let sentence = match parsed {
            Ok(url) if matches!(url.scheme(), "ws" | "wss") => match url.fragment() {
                None => return Ok(Self { url, socket: None }),
                Some(_) => format!(
                    "{} has a fragment, which a WebSocket URL cannot have; remove the # and the text \
                     after it, or write %23",
                    shown(&url)
                ),
            },
            Err(ParseError::InvalidPort) => {
                format!("the port of {text} is not a number up to 65535")
            }
            _ => {
                format!("\"{text}\" is not a WebSocket URL; use one like ws://localhost:8765")
            }
        };
        Err(sentence.into())
    }

    /// Whether it is `wss://`.
    pub(super) fn secure(&self) -> bool {
        self.url.scheme() == "wss"
    }

    /// The host, without the brackets of IPv6.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// The port in the URL, or the default port of its scheme.
    pub(super) fn port(&self) -> u16 {
        // The default ports are 80 and 443.
        self.url.port_or_known_default().unwrap_or_default()
    }

    /// The path of the Unix socket to connect to, instead of the host and the port.
    #[cfg(unix)]
    pub(super) fn socket(&self) -> Option<&std::path::Path> {
        self.socket.as_ref().map(std::path::Path::new)
    }

    /// Whether `other` has the same scheme, host, port and Unix socket.
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        self.url.origin() == other.url.origin() && self.socket == other.socket
    }

    /// The name and the password as Basic authentication (RFC 7617), if the URL has them.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        if self.url.username().is_empty() && self.url.password().is_none() {
            return None;
        }
        let mut credentials: Vec<u8> = percent_decode_str(self.url.username()).collect();
        credentials.push(b':');
        credentials.extend(percent_decode_str(self.url.password().unwrap_or_default()));
        let mut value =
            HeaderValue::try_from(format!("Basic {}", BASE64.encode(&credentials))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The whole URL, with its credentials.
    pub(super) fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The same URL with the scheme of HTTP, because the rules for proxies use HTTP schemes.
    pub(super) fn as_http(&self) -> String {
        self.as_str().replacen("ws", "http", 1)
    }
}

/// Leaves out the credentials, and a path that is only a slash.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = shown(&self.url);
        let Some(socket) = &self.socket else { return f.write_str(&shown) };
        let unix = format!("+unix:{}:", printable(socket));
        f.write_str(shown.replacen("://localhost", &unix, 1).trim_end_matches(':'))
    }
}

/// The scheme, the socket and the request target of `ws+unix:/PATH[:/TARGET]`, as the `ws` package of
/// Node.js has it.
fn split_unix(text: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = text.split_once("+unix:").filter(|_| cfg!(unix))?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (socket, target) = rest.split_once(':').unwrap_or((rest, "/"));
    let is_valid = matches!(scheme, "ws" | "wss") && !socket.is_empty() && target.starts_with('/');
    is_valid.then_some((scheme, socket, target))
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
    fn a_url_in_any_case_is_parsed() {
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

    #[cfg(unix)]
    #[test]
    fn a_unix_socket_may_have_a_request_target() {
        for (url, socket, path, shown) in [
            ("ws+unix:/run/a.sock", "/run/a.sock", "/", "ws+unix:/run/a.sock"),
            ("ws+unix:///run/a.sock:/b?c=d", "/run/a.sock", "/b?c=d", "ws+unix:/run/a.sock:/b?c=d"),
            ("wss+unix:a b:/", "a b", "/", "wss+unix:a b"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.socket().unwrap().to_str(), Some(socket));
            assert!(target.as_str().ends_with(&format!("://localhost{path}")), "{target:?}");
            assert_eq!(target.to_string(), shown);
        }
        for url in ["ws+unix:", "ws+unix::/a", "ws+unix:/a:b", "http+unix:/a"] {
            assert!(Target::parse(url).unwrap_err().to_string().contains("is not a WebSocket"));
        }
        let target = Target::parse("ws+unix:/a:/b/c").unwrap();
        assert_eq!(target.join("d").unwrap().to_string(), "ws+unix:/a:/b/d");
        assert_eq!(target.join("ws://other/d").unwrap().to_string(), "ws://other/d");
        // A server must not redirect a client to a Unix socket on the client's machine.
        assert!(Target::parse("ws://other").unwrap().join("ws+unix:/a").is_err());
    }

    #[test]
    fn an_invalid_url_error_hides_the_password() {
        for (url, says) in [
            ("localhost:8765", "is not a WebSocket URL"),
            ("http://ada:secret@localhost", "\"localhost\" is not a WebSocket URL"),
            ("ws://ada:secret@local host", "\"local host\" is not a WebSocket URL"),
            ("ws://", "is not a WebSocket URL"),
            (
                "ws://localhost:99999",
                "the port of ws://localhost:99999 is not a number up to 65535",
            ),
            ("wss://ada:secret@localhost:65536", "the port of localhost:65536 is not a number"),
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
        assert!(
            web.contains("redirects to https://site.example, which is not a WebSocket URL"),
            "{web}"
        );
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
