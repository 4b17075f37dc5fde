//! Small helpers for HTTP headers.

use tungstenite::http::header::AsHeaderName;
use tungstenite::http::{HeaderMap, HeaderName, HeaderValue, Response};

/// The items of a header that is a comma-separated list.
pub(crate) fn items(
    headers: &HeaderMap,
    name: impl AsHeaderName,
) -> impl DoubleEndedIterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        // An item that is not text does not make the others on its line invalid.
        .map(|item| str::from_utf8(item).unwrap_or_default().trim())
}

/// Whether a comma-separated list contains `word`.
pub(crate) fn lists(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(word))
}

/// The value of a header that appears exactly once.
pub(crate) fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

pub(crate) fn set<T>(response: &mut Response<T>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}
