//! What a client and a server agree on in the opening handshake (RFC 7692, section 7.1).

use clap::ValueEnum;
use tungstenite::http::HeaderMap;

use super::header::{Extension, extensions};

const NAME: &str = "permessage-deflate";

/// The offer of a client, which is the one that browsers make: the server may limit our window.
#[cfg(feature = "client")]
pub(crate) const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// The window that is used unless a parameter says otherwise, in bits.
pub(crate) const LARGEST_WINDOW: u8 = 15;

/// The smallest window that zlib can compress with, in bits.
pub(super) const SMALLEST_WINDOW: u8 = 9;

/// Whether messages are compressed, if the other side can do that, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub enum Compression {
    /// Compress with permessage-deflate (RFC 7692).
    Deflate,
    /// Do not compress.
    #[default]
    None,
}

/// The permission to send compressed messages. Only the handshake gives it, so nobody can send them
/// to a peer that has not agreed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Deflate {
    /// The largest window that we may use, in bits. With one of 8, nothing is compressed.
    pub(crate) window_bits: u8,
    /// The peer keeps its window from message to message, so we must keep it, too.
    pub(super) peer_keeps_window: bool,
}

/// The parameters of an offer or of a response.
#[derive(Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// An offer may have it without a value.
    client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    /// `None` if a parameter is unknown, has a wrong value, or is there twice.
    fn of(extension: &Extension) -> Option<Self> {
        let mut parameters = Self::default();
        for (name, value) in &extension.parameters {
            let bits = value.as_deref().map(window_bits);
            let is_second = match (name.as_str(), bits) {
                ("server_no_context_takeover", None) => {
                    std::mem::replace(&mut parameters.server_no_context_takeover, true)
                }
                ("client_no_context_takeover", None) => {
                    std::mem::replace(&mut parameters.client_no_context_takeover, true)
                }
                ("server_max_window_bits", Some(Some(bits))) => {
                    parameters.server_max_window_bits.replace(bits).is_some()
                }
                ("client_max_window_bits", None | Some(Some(_))) => {
                    parameters.client_max_window_bits.replace(bits.flatten()).is_some()
                }
                _ => true,
            };
            if is_second {
                return None;
            }
        }
        Some(parameters)
    }
}

/// A number from 8 to 15 without leading zeros.
fn window_bits(text: &str) -> Option<u8> {
    let bits = text.parse().ok().filter(|bits| (8..=LARGEST_WINDOW).contains(bits))?;
    (bits.to_string() == text).then_some(bits)
}

/// The first offer that a server accepts, and the header with which it does.
///
/// Neither side keeps its window from message to message, so an idle connection keeps none.
pub(crate) fn accept(request: &HeaderMap) -> Option<(Deflate, String)> {
    extensions(request)?.iter().filter(|offer| offer.name == NAME).find_map(|offer| {
        let asked = Parameters::of(offer)?.server_max_window_bits;
        let window_bits = asked.unwrap_or(LARGEST_WINDOW);
        // The client may offer another window, too.
        if window_bits < SMALLEST_WINDOW {
            return None;
        }
        let deflate = Deflate { window_bits, peer_keeps_window: false };
        let window = asked.map(|bits| format!("; server_max_window_bits={bits}"));
        let window = window.unwrap_or_default();
        let fixed = "; server_no_context_takeover; client_no_context_takeover";
        Some((deflate, format!("{NAME}{fixed}{window}")))
    })
}

/// What a client has to do after this response, if it has sent [`OFFER`] for `compression`.
///
/// # Errors
///
/// The server answered with anything but an acceptance of the offer (RFC 7692, section 5.1).
#[cfg(feature = "client")]
pub(crate) fn confirm(
    compression: Compression,
    response: &HeaderMap,
) -> Result<Option<Deflate>, ()> {
    let accepted = extensions(response).ok_or(())?;
    let accepted = match (&accepted[..], compression) {
        ([], _) => return Ok(None),
        ([accepted], Compression::Deflate) if accepted.name == NAME => accepted,
        _ => return Err(()),
    };
    let parameters = Parameters::of(accepted).ok_or(())?;
    let window_bits = match parameters.client_max_window_bits {
        None => LARGEST_WINDOW,
        Some(bits) => bits.ok_or(())?,
    };
    let peer_keeps_window = !parameters.server_no_context_takeover;
    Ok(Some(Deflate { window_bits, peer_keeps_window }))
}

#[cfg(test)]
mod tests {
    use testing::property::{check, text};
    use tungstenite::http::{HeaderValue, header};

    use super::*;

    const FIXED: &str = "; server_no_context_takeover; client_no_context_takeover";

    fn headers(value: &str) -> HeaderMap {
        let value =
            HeaderValue::from_bytes(value.as_bytes()).unwrap_or(HeaderValue::from_static(""));
        HeaderMap::from_iter([(header::SEC_WEBSOCKET_EXTENSIONS, value)])
    }

    fn accepted(offer: &str) -> Option<(u8, String)> {
        let (deflate, response) = accept(&headers(offer))?;
        assert!(!deflate.peer_keeps_window);
        Some((deflate.window_bits, response.strip_prefix(NAME)?.strip_prefix(FIXED)?.to_owned()))
    }

    #[test]
    fn a_server_accepts_the_first_possible_offer() {
        let plain = Some((15, String::new()));
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=8",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate",
            "permessage-deflate; a, permessage-deflate",
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            "permessage-deflate; client_max_window_bits=010, permessage-deflate",
            "permessage-deflate; server_max_window_bits, permessage-deflate",
        ] {
            assert_eq!(accepted(offer), plain, "{offer}");
        }
        for bits in 9..=15 {
            let window = format!("; server_max_window_bits={bits}");
            assert_eq!(accepted(&format!("{NAME}{window}")), Some((bits, window)));
        }
        assert_eq!(accepted(&format!("{NAME}; server_max_window_bits=\"10\"")).unwrap().0, 10);
    }

    #[test]
    fn a_server_declines_offers_with_bad_parameters() {
        assert_eq!(accepted(""), None);
        assert_eq!(accepted("deflate"), None);
        for parameter in [
            "a",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=8",
            "server_max_window_bits=16",
            "server_max_window_bits=010",
            "server_max_window_bits=+10",
            "server_max_window_bits=x",
            "server_max_window_bits=10; server_max_window_bits=10",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=08",
            "client_max_window_bits; client_max_window_bits",
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
        ] {
            assert_eq!(accepted(&format!("{NAME}; {parameter}")), None, "{parameter}");
        }
    }

    #[cfg(feature = "client")]
    #[test]
    fn a_client_confirms_only_what_it_offered() {
        let confirmed = |value: &str| {
            let confirmed = confirm(Compression::Deflate, &headers(value));
            confirmed.map(|deflate| deflate.map(|d| (d.window_bits, d.peer_keeps_window)))
        };
        assert_eq!(confirmed(""), Ok(None));
        assert_eq!(confirmed(NAME), Ok(Some((15, true))));
        assert_eq!(confirmed(&format!("{NAME}{FIXED}")), Ok(Some((15, false))));
        for bits in 8..=15 {
            let value = format!("{NAME}; client_max_window_bits={bits}; server_max_window_bits=8");
            assert_eq!(confirmed(&value), Ok(Some((bits, true))), "{value}");
        }
        for value in [
            "a".into(),
            format!("{NAME}, {NAME}"),
            format!("{NAME}, a"),
            format!("{NAME};"),
            format!("{NAME}; a"),
            format!("{NAME}; client_max_window_bits"),
            format!("{NAME}; client_max_window_bits=16"),
            format!("{NAME}; server_max_window_bits"),
            format!("{NAME}; server_no_context_takeover; server_no_context_takeover"),
        ] {
            assert_eq!(confirmed(&value), Err(()), "{value}");
        }
        assert_eq!(confirm(Compression::None, &headers(NAME)), Err(()));
        assert_eq!(confirm(Compression::None, &HeaderMap::new()), Ok(None));
    }

    /// A response that is not an answer to this offer would make every client fail.
    #[test]
    fn any_accepted_offer_is_answered_with_its_window() {
        const SPECIAL: [&str; 9] = [
            NAME,
            "; ",
            ", ",
            "server_max_window_bits",
            "client_max_window_bits",
            "=10",
            "=8",
            "server_no_context_takeover",
            "client_no_context_takeover",
        ];
        let mut count = 0;
        check(5000, |input| {
            let offer = format!("{NAME}; {}", text(input, &SPECIAL, 8)?);
            if let Some((bits, window)) = accepted(&offer) {
                count += 1;
                let limit = format!("server_max_window_bits={bits}");
                assert!(9 <= bits && (bits == 15 && window.is_empty() || offer.contains(&limit)));
            }
            Ok(())
        });
        assert!(count > 50, "only {count} offers are accepted");
    }
}
