//! The header `Sec-WebSocket-Extensions` (RFC 6455, section 9.1).

use tungstenite::http::{HeaderMap, header};

/// One extension that a client offers or a server accepts, with its parameters.
#[derive(Debug, PartialEq)]
pub(crate) struct Extension {
    pub(super) name: String,
    pub(super) parameters: Vec<(String, Option<String>)>,
}

/// The extensions in the order of the header. `None` if the header is malformed.
pub(crate) fn extensions(headers: &HeaderMap) -> Option<Vec<Extension>> {
    let mut extensions = Vec::new();
    for value in headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS) {
        // A quoted value must be a token, too, so no comma and no semicolon is ever quoted.
        let elements = value.to_str().ok()?.split(',').map(trim);
        // A list may have empty elements (RFC 9110, section 5.6.1).
        for element in elements.filter(|element| !element.is_empty()) {
            extensions.push(extension(element)?);
        }
    }
    Some(extensions)
}

fn extension(element: &str) -> Option<Extension> {
    let mut parts = element.split(';').map(trim);
    let name = token(parts.next()?)?;
    let parameters = parts.map(|part| match part.split_once('=') {
        Some((name, value)) => Some((token(trim(name))?, Some(value_of(trim(value))?))),
        None => Some((token(part)?, None)),
    });
    Some(Extension { name, parameters: parameters.collect::<Option<_>>()? })
}

/// The value of a parameter: a token, which may be quoted.
fn value_of(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else { return token(text) };
    let mut unquoted = String::new();
    let mut rest = quoted.strip_suffix('"')?.chars();
    while let Some(char) = rest.next() {
        unquoted.push(if char == '\\' { rest.next()? } else { char });
    }
    token(&unquoted)
}

/// A token (RFC 9110, section 5.6.2).
fn token(text: &str) -> Option<String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!text.is_empty() && text.bytes().all(is_token)).then(|| text.to_owned())
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use testing::property::{check, text};
    use tungstenite::http::HeaderValue;

    use super::*;

    fn parse(value: &str) -> Option<Vec<Extension>> {
        let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        extensions(&HeaderMap::from_iter([(header::SEC_WEBSOCKET_EXTENSIONS, value)]))
    }

    fn of(name: &str, parameters: &[(&str, Option<&str>)]) -> Extension {
        let owned =
            |(name, value): &(&str, Option<&str>)| (String::from(*name), value.map(String::from));
        Extension { name: name.into(), parameters: parameters.iter().map(owned).collect() }
    }

    #[test]
    fn extensions_and_parameters_are_read() {
        assert_eq!(extensions(&HeaderMap::new()), Some(vec![]));
        assert_eq!(parse(""), Some(vec![]));
        assert_eq!(parse(" , a ,,"), Some(vec![of("a", &[])]));
        assert_eq!(
            parse("a; b;c = 1;\td=\"2\" ,a;e=\"\\3\""),
            Some(vec![
                of("a", &[("b", None), ("c", Some("1")), ("d", Some("2"))]),
                of("a", &[("e", Some("3"))]),
            ])
        );
    }

    #[test]
    fn a_malformed_header_is_noticed() {
        for value in [
            ";",
            "a;",
            "a;;b",
            "a b",
            "a;b=",
            "a;=b",
            "a;b=\"",
            "a;b=\"\"",
            "a;b=\"c",
            "a;b=c\"",
            "a;b=\"c,d\"",
            "a;b=\"c;d\"",
            "a;b=\"c d\"",
            "a;b=\"\\\"\"",
            "a;b=\"c\\\"",
            "a;b=c=d",
            "a=b",
            "a/b",
            "a, é",
        ] {
            assert_eq!(parse(value), None, "{value}");
        }
    }

    /// What was read, written in the plainest form.
    fn write(extensions: &[Extension]) -> String {
        let parameter = |(name, value): &(String, Option<String>)| match value {
            Some(value) => format!(";{name}={value}"),
            None => format!(";{name}"),
        };
        let element = |extension: &Extension| {
            extension.name.clone() + &extension.parameters.iter().map(parameter).collect::<String>()
        };
        extensions.iter().map(element).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn any_header_is_read_the_same_when_written_again() {
        const SPECIAL: [&str; 12] =
            [";", ",", "=", "\"", "\\", " ", "a", "b", "a;b", "a;b=\"1\"", "; c=2", ", d"];
        let mut read = 0;
        check(3000, |input| {
            if let Some(extensions) = parse(&text(input, &SPECIAL, 12)?) {
                read += usize::from(!extensions.is_empty());
                assert_eq!(parse(&write(&extensions)), Some(extensions));
            }
            Ok(())
        });
        assert!(read > 100, "only {read} headers are well-formed");
    }
}
