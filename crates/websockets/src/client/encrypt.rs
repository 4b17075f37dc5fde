//! TLS for the client, and error messages for it.

use tokio_native_tls::{TlsConnector, TlsStream};

use super::errors::{no_certificate, wants_certificate};
use super::url::Target;
use crate::socket::Stream;

/// Speaks TLS on `stream`, and checks that it is `target`'s server that answers.
///
/// # Errors
///
/// A sentence that says why not, and what helps.
pub(super) async fn encrypt(
    connector: &TlsConnector,
    target: &Target,
    stream: Stream,
) -> crate::Result<TlsStream<Stream>> {
    let encrypted = connector.connect(target.host(), stream).await;
    Ok(encrypted.map_err(|error| sentence(target, &error.to_string()))?)
}

/// Words that a library may use, and the sentence for them. The first that is found counts.
/// native-tls tells its reasons by text alone: OpenSSL and macOS write English, Windows the user's
/// language with a code at the end (CERT_E_EXPIRED, CERT_E_CN_NO_MATCH and CERT_E_UNTRUSTEDROOT of
/// winerror.h).
const REASONS: [(&[&str], &str); 7] = [
    (&["not yet valid"], "the certificate of URL is not valid yet; set this machine's clock"),
    (
        &["certificate has expired", "an expired", "-2146762495"],
        "the certificate of URL has expired; the server needs a new one, which scripts/make-cert makes",
    ),
    (
        &["mismatch", "does not match", "-2146762481"],
        "the certificate of URL is for another host; use localhost, or a name that it holds",
    ),
    (
        &["self-signed", "self signed", "unable to", "not trusted", "-2146762487"],
        "the certificate of URL is not one this client trusts; name the file that holds it by --ca",
    ),
    (
        &["unsupported protocol", "alert protocol version"],
        "URL speaks no TLS that is safe today; its server must speak TLS 1.2 or 1.3",
    ),
    (
        &["alert handshake failure"],
        "URL ended the TLS handshake; it wants a certificate of its clients, or a cipher that is \
         not spoken here",
    ),
    (
        &["wrong version number", "record layer failure", "eof", "reset", "closed"],
        "URL does not speak TLS; start wss-server there, or give the port of a server that does",
    ),
];

/// Why there is no TLS connection to `target`, and what helps.
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
            ("SSL routines:ssl3_read_bytes:tlsv13 alert certificate required", "of its clients"),
            ("SSL routines:ssl3_read_bytes:sslv3 alert handshake failure", "or a cipher"),
            ("SSL routines:ssl3_read_bytes:tlsv1 alert protocol version", "TLS 1.2 or 1.3"),
            ("SSL routines:ssl_choose_client_version:unsupported protocol", "TLS 1.2 or 1.3"),
            ("ssl3_get_record:wrong version number", "does not speak TLS"),
            ("unexpected EOF", "does not speak TLS"),
            ("anything else", "(anything else)"),
        ];
        let target = Target::parse("wss://localhost").unwrap();
        for (error, expected) in reasons {
            let sentence = super::sentence(&target, error);
            assert!(sentence.contains(expected), "{error}: {sentence}");
            // Who is told to leave the encryption out has been attacked.
            assert!(!sentence.replace("wss://", "").contains("ws://"), "{sentence}");
        }
    }
}
