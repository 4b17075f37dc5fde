//! Who may come in: a name, a room and an end, signed by this server. There is no table of users:
//! whoever shows a pass with our signature was given it by us.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use common::{Request, Result};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tempfile::NamedTempFile;
use tungstenite::http::{HeaderValue, header};

/// What a pass says. It is signed, not encrypted: all can read it, nobody can change it.
#[derive(Deserialize, Serialize)]
pub struct Pass {
    pub room: String,
    pub name: String,
    /// In seconds since 1970.
    pub expires: u64,
}

impl Pass {
    /// How long it still holds.
    pub fn left(&self) -> Duration {
        Duration::from_secs(self.expires).saturating_sub(UNIX_EPOCH.elapsed().unwrap_or_default())
    }

    /// A cookie that keeps the token of `request` in the browser: out of reach of scripts, unseen
    /// by other sites, for this room alone.
    pub fn cookie(&self, request: &Request) -> String {
        let (token, path) = (token(request).unwrap_or_default(), request.uri().path());
        let left = self.left().as_secs();
        // Only a proxy can say so: this server itself speaks no TLS.
        let https = request.headers().get("X-Forwarded-Proto").is_some_and(|by| by == "https");
        let secure = if https { "; Secure" } else { "" };
        format!("chat={token}; Path={path}; Max-Age={left}; HttpOnly; SameSite=Strict{secure}")
    }
}

/// The token of a request: `Authorization: Bearer TOKEN`, or the cookie.
fn token(request: &Request) -> Option<&str> {
    // Bytes: another program's cookie may be no text.
    let header = |name| request.headers().get(name).map_or(&[][..], HeaderValue::as_bytes);
    let mut cookies = header(header::COOKIE).split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let bearer = header(header::AUTHORIZATION).strip_prefix(b"Bearer ");
    str::from_utf8(bearer.or_else(|| cookies.find_map(|pair| pair.strip_prefix(b"chat=")))?).ok()
}

/// What passes are signed with. Who knows it can be anyone: it never leaves this program.
pub struct Key(Hmac<Sha256>);

impl Key {
    /// Reads the key in a folder; makes both at the first start.
    ///
    /// # Errors
    ///
    /// A sentence when it cannot be read, or when others on this machine can read it.
    pub fn load(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join("key");
        if !path.exists() {
            let (mut new, mut key) = (NamedTempFile::new_in(folder)?, [0; 32]);
            getrandom::fill(&mut key)?;
            new.write_all(&key)?;
            // Whole, and only if there is none: another may make one at the same moment.
            _ = new.persist_noclobber(&path);
        }
        let key =
            fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        #[cfg(unix)]
        if std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path)?) & 0o077 != 0 {
            return Err(format!("others can read the key; run chmod 600 {}", path.display()).into());
        }
        if key.len() < 32 {
            return Err(format!("the key is too short; remove {}", path.display()).into());
        }
        Ok(Self(Hmac::new_from_slice(&key)?))
    }

    /// The pass and its signature, in letters that fit into a link, a header and a cookie.
    pub fn sign(&self, pass: &Pass) -> Result<String> {
        let pass = serde_json::to_vec(pass)?;
        let signature = self.0.clone().chain_update(&pass).finalize().into_bytes();
        Ok(format!("{}.{}", BASE64.encode(pass), BASE64.encode(signature)))
    }

    /// The pass that came with a request; `None` unless it is ours and still holds.
    pub fn check(&self, request: &Request) -> Option<Pass> {
        let (pass, signature) = token(request)?.split_once('.')?;
        let (pass, signature) = (BASE64.decode(pass).ok()?, BASE64.decode(signature).ok()?);
        // In constant time: how long a wrong one takes must not tell how much of it is right.
        self.0.clone().chain_update(&pass).verify_slice(&signature).ok()?;
        serde_json::from_slice(&pass).ok().filter(|pass: &Pass| !pass.left().is_zero())
    }
}
