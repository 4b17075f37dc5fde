//! A token gives its owner a name in one room, until it expires. The server signs each token, so it
//! needs no table of users: only this server can make a signature that it accepts.
//!
//! There are two kinds. A *pass* lets its owner join the room. An *invitation* can only be exchanged
//! for a pass, and only once.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use common::check_private;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tempfile::NamedTempFile;
use websockets::Result;

/// The time until a pass expires: one week. A browser's pass is renewed whenever it is used.
pub const PASS_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// The content of a token. It is signed, not encrypted: its owner can read it, but cannot change
/// it.
#[derive(Clone, Deserialize, Serialize)]
pub struct Token {
    pub room: String,
    pub name: String,
    /// In seconds since 1970.
    pub expires: u64,
    /// Only an invitation has an id. The server stores it when the invitation is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Token {
    /// Makes a pass that expires after `lifetime`.
    pub fn pass(room: String, name: String, lifetime: Duration) -> Self {
        let expires = UNIX_EPOCH.elapsed().unwrap_or_default() + lifetime;
        Self { room, name, expires: expires.as_secs(), id: None }
    }

    /// The time until the token expires; zero if it has expired.
    pub fn remaining(&self) -> Duration {
        Duration::from_secs(self.expires).saturating_sub(UNIX_EPOCH.elapsed().unwrap_or_default())
    }
}

/// The key that signs the tokens. Anyone with this key could use any name, so it never leaves this
/// program.
pub struct Key(Hmac<Sha256>);

impl Key {
    /// Creates the folder and the key in it, if they do not exist.
    ///
    /// # Errors
    ///
    /// An error message if the key cannot be written.
    pub fn create(folder: &Path) -> Result<()> {
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
            match new.persist_noclobber(&path) {
                Err(error) if error.error.kind() != ErrorKind::AlreadyExists => {
                    return Err(cannot_write(error.error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the key from a folder.
    ///
    /// # Errors
    ///
    /// An error message if there is no key, if it cannot be read, or if every user of this
    /// machine can read it.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("key");
        let key = fs::read(&path).map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::NotFound => "start the server first, or pass its --data",
                _ => "run this program as the owner of the file",
            };
            format!("cannot read {}: {error}; {hint}", path.display())
        })?;
        check_private(&path)?;
        if key.len() < 32 {
            return Err(format!("the key is too short; remove {}", path.display()).into());
        }
        Ok(Self(Hmac::new_from_slice(&key)?))
    }

    /// The name of the cookie for the passes that this key signs. Cookies ignore ports, so two chats
    /// on one host would overwrite a cookie of the same name.
    pub fn cookie_name(&self) -> String {
        let hash = self.0.clone().chain_update("the name of the cookie").finalize().into_bytes();
        format!("chat-{}", BASE64.encode(hash.iter().copied().take(6).collect::<Vec<_>>()))
    }

    /// Encodes the token and its signature. The result needs no escaping in a link, a header or a
    /// cookie.
    pub fn sign(&self, token: &Token) -> Result<String> {
        let payload = serde_json::to_vec(token)?;
        let signature = self.0.clone().chain_update(&payload).finalize().into_bytes();
        Ok(format!("{}.{}", BASE64.encode(payload), BASE64.encode(signature)))
    }

    /// The content and the id of an encoded invitation; `None` if it is not a valid one.
    pub fn verify_invitation(&self, token: &str) -> Option<(Token, String)> {
        let mut invitation = self.verify(token)?;
        let id = invitation.id.take()?;
        Some((invitation, id))
    }

    /// The content of an encoded token; `None` if this server did not sign it, or if it has expired.
    pub fn verify(&self, token: &str) -> Option<Token> {
        let (payload, signature) = token.split_once('.')?;
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

    use super::*;

    #[test]
    fn only_an_unchanged_token_is_valid() {
        let key = Key(Hmac::new_from_slice(&[7; 32]).unwrap());
        let other_key = Key(Hmac::new_from_slice(&[8; 32]).unwrap());
        // The years 2001 and 2100. The time of the test would make other tokens in each run.
        let (past, future) = (1_000_000_000, 4_102_444_800);
        check(1000, |input| {
            let name = text(input, &["\"", ";", " ", ".", "é", "\u{1b}"], 10)?;
            let (room, expires) = (text(input, &["lobby", "-"], 3)?, future);
            let token = Token { room: room.clone(), name: name.clone(), expires, id: None };
            let signed = key.sign(&token).unwrap();
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            assert!(signed.chars().all(is_plain), "{signed}");

            let verified = key.verify(&signed).unwrap();
            assert_eq!((verified.room, verified.name, verified.expires), (room, name, expires));
            assert!(other_key.verify(&signed).is_none());

            let expired = key.sign(&Token { expires: input.int_in_range(0..=past)?, ..token });
            assert!(key.verify(&expired.unwrap()).is_none());

            let mut changed = signed.clone().into_bytes();
            mutate(input, &mut changed)?;
            let changed = String::from_utf8_lossy(&changed);
            if changed != signed {
                assert!(key.verify(&changed).is_none(), "{signed} {changed}");
            }
            Ok(())
        });
    }

    #[test]
    fn every_program_reads_the_complete_key() {
        for _ in 0..100 {
            let folder = tempfile::tempdir().unwrap();
            let load = || {
                Key::create(folder.path()).unwrap();
                Key::load(folder.path()).unwrap().cookie_name()
            };
            let names = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            });
            assert!(names.windows(2).all(|pair| pair[0] == pair[1]), "{names:?}");
        }
    }

    #[test]
    fn each_key_has_its_own_cookie_name() {
        let name = |key| Key(Hmac::new_from_slice(&[key; 32]).unwrap()).cookie_name();
        assert_eq!(name(7), name(7));
        assert_ne!(name(7), name(8));
        assert!(name(7).bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    }
}
