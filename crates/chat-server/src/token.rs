//! A token allows its owner to join one room under one name, until it expires. The server signs
//! each token, so it needs no table of users: only this server can make a signature that it
//! accepts.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tempfile::NamedTempFile;
use websockets::tungstenite::http::{HeaderValue, header};
use websockets::{Request, Result};

/// The content of a token. It is signed, not encrypted: its owner can read it, but cannot change
/// it.
#[derive(Clone, Deserialize, Serialize)]
pub struct Token {
    pub room: String,
    pub name: String,
    /// In seconds since 1970.
    pub expires: u64,
}

impl Token {
    /// The time until the token expires; zero if it has expired.
    pub fn remaining(&self) -> Duration {
        Duration::from_secs(self.expires).saturating_sub(UNIX_EPOCH.elapsed().unwrap_or_default())
    }

    /// A cookie that stores the token of `request` in the browser. No script can read it, no other
    /// site's page can make the browser send it, and it is valid for this room only.
    pub fn cookie(&self, request: &Request) -> String {
        let (token, path) = (encoded_token(request).unwrap_or_default(), request.uri().path());
        let max_age = self.remaining().as_secs();
        // This server never uses TLS itself, so only a proxy knows whether the browser used https.
        let https = request.headers().get("X-Forwarded-Proto").is_some_and(|by| by == "https");
        let secure = if https { "; Secure" } else { "" };
        format!("chat={token}; Path={path}; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}")
    }
}

/// The token of a request, still encoded: from `Authorization: Bearer TOKEN`, or from the cookie.
fn encoded_token(request: &Request) -> Option<&str> {
    // These are bytes, because the cookie of another program may not be valid text.
    let header = |name| request.headers().get(name).map_or(&[][..], HeaderValue::as_bytes);
    let mut cookies = header(header::COOKIE).split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let bearer = header(header::AUTHORIZATION).strip_prefix(b"Bearer ");
    str::from_utf8(bearer.or_else(|| cookies.find_map(|pair| pair.strip_prefix(b"chat=")))?).ok()
}

/// The key that signs the tokens. Anyone with this key could use any name, so it never leaves this
/// program.
pub struct Key(Hmac<Sha256>);

impl Key {
    /// Reads the key from a folder. Creates the folder and the key if they do not exist.
    ///
    /// # Errors
    ///
    /// An error message if the key cannot be read, or if other users of this machine can read it.
    pub fn load(folder: &Path) -> Result<Self> {
        let cannot_write = |error| {
            format!("cannot use the folder {}: {error}; pass another --data", folder.display())
        };
        fs::create_dir_all(folder).map_err(cannot_write)?;
        let path = folder.join("key");
        if !path.exists() {
            let mut new = NamedTempFile::new_in(folder).map_err(cannot_write)?;
            let mut key = [0; 32];
            getrandom::fill(&mut key)?;
            new.write_all(&key).map_err(cannot_write)?;
            // Another program may create a key at the same moment, so this moves the complete file
            // into place, and only if there is no key yet.
            _ = new.persist_noclobber(&path);
        }
        let key = fs::read(&path).map_err(|error| {
            format!("cannot read {}: {error}; run the server as its owner", path.display())
        })?;
        #[cfg(unix)]
        if std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path)?) & 0o077 != 0 {
            return Err(format!("others can read the key; run chmod 600 {}", path.display()).into());
        }
        if key.len() < 32 {
            return Err(format!("the key is too short; remove {}", path.display()).into());
        }
        Ok(Self(Hmac::new_from_slice(&key)?))
    }

    /// Encodes the token and its signature. The result needs no escaping in a link, a header or a
    /// cookie.
    pub fn sign(&self, token: &Token) -> Result<String> {
        let payload = serde_json::to_vec(token)?;
        let signature = self.0.clone().chain_update(&payload).finalize().into_bytes();
        Ok(format!("{}.{}", BASE64.encode(payload), BASE64.encode(signature)))
    }

    /// The token of a request; `None` if there is none, if this server did not sign it, or if it
    /// has expired.
    pub fn verify(&self, request: &Request) -> Option<Token> {
        let (payload, signature) = encoded_token(request)?.split_once('.')?;
        let (payload, signature) = (BASE64.decode(payload).ok()?, BASE64.decode(signature).ok()?);
        // This takes the same time for every wrong signature. Otherwise the time would show how
        // many of its first bytes are right.
        self.0.clone().chain_update(&payload).verify_slice(&signature).ok()?;
        let token: Token = serde_json::from_slice(&payload).ok()?;
        (!token.remaining().is_zero()).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use testing::property::{check, mutate, text};
    use websockets::tungstenite::http;

    use super::*;

    fn request(name: header::HeaderName, value: &[u8]) -> Option<Request> {
        let value = HeaderValue::from_bytes(value).ok()?;
        let head = http::Request::get("/rooms/lobby").header(name, value).body(()).ok()?;
        Some(Request::new(head, None))
    }

    #[test]
    fn only_an_unchanged_token_is_valid() {
        let key = Key(Hmac::new_from_slice(&[7; 32]).unwrap());
        let other_key = Key(Hmac::new_from_slice(&[8; 32]).unwrap());
        // The years 2001 and 2100. The time of the test would make other tokens in each run.
        let (past, future) = (1_000_000_000, 4_102_444_800);
        check(1000, |input| {
            let name = text(input, &["\"", ";", " ", ".", "é", "\u{1b}"], 10)?;
            let (room, expires) = (text(input, &["lobby", "-"], 3)?, future);
            let token = Token { room: room.clone(), name: name.clone(), expires };
            let signed = key.sign(&token).unwrap();
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            assert!(signed.chars().all(is_plain), "{signed}");

            let (header, before, after) = input.choose(&[
                (header::AUTHORIZATION, "Bearer ", ""),
                (header::COOKIE, "chat=", ""),
                (header::COOKIE, "a=b; chat=", " ; chat=other"),
            ])?;
            let with = |key: &Key, token: &[u8]| {
                let value = [before.as_bytes(), token, after.as_bytes()].concat();
                key.verify(&request(header.clone(), &value)?)
            };
            let verified = with(&key, signed.as_bytes()).unwrap();
            assert_eq!((verified.room, verified.name, verified.expires), (room, name, expires));
            assert!(with(&other_key, signed.as_bytes()).is_none());

            let expired = key.sign(&Token { expires: input.int_in_range(0..=past)?, ..token });
            assert!(with(&key, expired.unwrap().as_bytes()).is_none());

            let mut changed = signed.clone().into_bytes();
            mutate(input, &mut changed)?;
            // A semicolon ends a cookie, and blanks around the value do not count.
            let sent = changed.split(|byte| *byte == b';').next().unwrap_or_default();
            if sent.trim_ascii() != signed.as_bytes() {
                assert!(
                    with(&key, &changed).is_none(),
                    "{signed} {}",
                    String::from_utf8_lossy(&changed)
                );
            }
            Ok(())
        });
    }

    #[test]
    fn any_header_without_a_signature_is_invalid() {
        let key = Key(Hmac::new_from_slice(&[7; 32]).unwrap());
        check(1000, |input| {
            let parts = ["chat=", "Bearer ", ";", " ", ".", "e30", "=", "\u{e9}"];
            let mut value = text(input, &parts, 20)?.into_bytes();
            mutate(input, &mut value)?;
            for header in [header::COOKIE, header::AUTHORIZATION] {
                if let Some(request) = request(header, &value) {
                    assert!(key.verify(&request).is_none());
                }
            }
            Ok(())
        });
    }
}
