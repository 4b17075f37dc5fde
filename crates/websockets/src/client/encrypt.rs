//! TLS for the client, and error messages for it.

use tokio_native_tls::{TlsConnector, TlsStream};

use super::errors::{no_certificate, wants_certificate};
use super::url::Target;
use crate::socket::Stream;

/// Encrypts `stream` with TLS, and checks that the certificate is valid for `target`.
///
/// # Errors
///
/// One sentence with the reason and a fix.
pub(super) async fn encrypt(
    connector: &TlsConnector,
    target: &Target,
    stream: Stream,
) -> crate::Result<TlsStream<Stream>> {
    let encrypted = connector.connect(target.host(), stream).await;
    Ok(encrypted.map_err(|error| sentence(target, &error.to_string()))?)
}

/// Texts of TLS libraries, and the error message for them. The first match counts. native-tls gives
/// the reason only as text: OpenSSL and macOS in English, Windows in the user's language with a
/// code at the end (CERT_E_EXPIRED, CERT_E_CN_NO_MATCH and CERT_E_UNTRUSTEDROOT of winerror.h).
const REASONS: [(&[&str], &str); 7] = [
    (&["not yet valid"], "the certificate of URL is not valid yet; set this machine's clock"),
    (
        &["certificate has expired", "an expired", "-2146762495"],
        "the certificate of URL has expired; make a new one with scripts/make-cert",
    ),
    (
        &["mismatch", "does not match", "-2146762481"],
        "the certificate of URL is for another host; use localhost, or a name in the certificate",
    ),
    (
        &["self-signed", "self signed", "unable to", "not trusted", "-2146762487"],
        "the certificate of URL is not trusted by this client; pass its file with --ca",
    ),
    (
        &["unsupported protocol", "alert protocol version"],
        "URL offers no safe TLS version; its server must support TLS 1.2 or 1.3",
    ),
    (
        &["alert handshake failure"],
        "URL ended the TLS handshake; it requires a client certificate, or a cipher that this \
         system lacks",
    ),
    (
        &["wrong version number", "record layer failure", "eof", "reset", "closed"],
        "URL does not use TLS; start wss-server there, or use the port of a server with TLS",
    ),
];

/// The error message for a failed TLS connection to `target`.
fn sentence(target: &Target, error: &str) -> String {
    if wants_certificate(error) {
        return no_certificate(target);
    }
    let text = error.to_lowercase();
    match REASONS.iter().find(|(words, _)| words.iter().any(|word| text.contains(word))) {
        Some((_, sentence)) => sentence.replace("URL", &target.to_string()),
        None => format!("no TLS connection to {target} ({error}); is it the right port?"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::url::Target;

    #[test]
    fn the_reasons_of_three_libraries_are_told_apart() {
        let reasons = [
            ("verify failed: (certificate has expired)", "has expired"),
            ("An expired certificate was detected.", "has expired"),
            ("(os error -2146762495)", "has expired"),
            ("verify failed: (certificate is not yet valid)", "not valid yet"),
            ("verify failed: (hostname mismatch)", "another host"),
            ("verify failed: (IP address mismatch)", "another host"),
            ("A host name mismatch has occurred.", "another host"),
            ("(os error -2146762481)", "another host"),
            ("verify failed: (self-signed certificate)", "--ca"),
            ("verify failed: (unable to get local issuer certificate)", "--ca"),
            ("The trust policy was not trusted.", "--ca"),
            ("(os error -2146762487)", "--ca"),
            (
                "SSL routines:ssl3_read_bytes:tlsv13 alert certificate required",
                "a client certificate",
            ),
            ("SSL routines:ssl3_read_bytes:sslv3 alert handshake failure", "or a cipher"),
            ("SSL routines:ssl3_read_bytes:tlsv1 alert protocol version", "TLS 1.2 or 1.3"),
            ("SSL routines:ssl_choose_client_version:unsupported protocol", "TLS 1.2 or 1.3"),
            ("ssl3_get_record:wrong version number", "does not use TLS"),
            ("unexpected EOF", "does not use TLS"),
            ("anything else", "(anything else)"),
        ];
        let target = Target::parse("wss://localhost").unwrap();
        for (error, expected) in reasons {
            let sentence = super::sentence(&target, error);
            assert!(sentence.contains(expected), "{error}: {sentence}");
            // A hint to use ws:// would help an attacker who causes the error.
            assert!(!sentence.replace("wss://", "").contains("ws://"), "{sentence}");
        }
    }
}
