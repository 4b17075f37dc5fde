//! An invitation is a link that gives a name. It works once, because a browser keeps the link in its
//! history. Used invitations are files, so they stay used after a restart.

use std::fs::{self, File};
use std::io::{ErrorKind, Result as IoResult};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use websockets::{Flags, Result};

use crate::token::{Key, Token};

/// The time in which an invitation must be opened: one hour.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The invitations that were used.
pub struct Invitations {
    /// This folder contains an empty file for each of them. The file name is the id.
    used: PathBuf,
}

impl Invitations {
    /// Uses a folder in the folder of `--data`.
    pub fn new(data: &Path) -> Self {
        Self { used: data.join("used-invitations") }
    }

    /// Whether this invitation was used.
    pub fn is_used(&self, id: &str) -> bool {
        self.used.join(id).exists()
    }

    /// Uses an invitation. Returns whether it was unused. Of two requests at the same time, only one
    /// can create the file.
    ///
    /// # Errors
    ///
    /// The error of the file system. Then the invitation is still unused.
    pub fn take(&self, id: &str) -> IoResult<bool> {
        // Not its parents, because a folder of `--data` that was removed must stay away.
        match fs::create_dir(&self.used) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for file in fs::read_dir(&self.used)?.flatten() {
            let used = file.metadata().and_then(|metadata| metadata.modified());
            let age = used.ok().and_then(|used| used.elapsed().ok()).unwrap_or_default();
            // An expired invitation is invalid even without its file. Another request may have
            // removed it already.
            if age > 2 * LIFETIME {
                _ = fs::remove_file(file.path());
            }
        }
        match File::create_new(self.used.join(id)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            created => created.map(|_| true),
        }
    }
}

/// The link that lets `name` join a room. A browser never sends the part after `#`, so no server,
/// proxy or log receives the token.
///
/// # Errors
///
/// An error message if no browser can open the address of the server.
pub fn link(flags: &Flags, key: &Key, room: String, name: String) -> Result<String> {
    let is_page =
        |origin: &&String| origin.starts_with("http://") || origin.starts_with("https://");
    let origin = match flags.allow_origin.iter().find(is_page) {
        Some(origin) => origin.clone(),
        None if flags.allow_origin.is_empty() && is_openable(flags) => {
            format!("http://{}", flags.address)
        }
        None => {
            return Err(format!(
                "no browser can open a link to {}; add --allow-origin https://chat.example, with the \
                 address that people open",
                flags.allow_origin.first().unwrap_or(&flags.address)
            )
            .into());
        }
    };
    let mut id = [0; 16];
    getrandom::fill(&mut id)?;
    let invitation = Token { id: Some(BASE64.encode(id)), ..Token::pass(room, name, LIFETIME) };
    Ok(format!("{origin}/rooms/{}#{}", invitation.room, key.sign(&invitation)?))
}

/// Whether the address that the server listens on is also one that a browser can open.
fn is_openable(flags: &Flags) -> bool {
    let port = flags.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let host = flags.host().trim_matches(['[', ']']);
    let is_wildcard = host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_unspecified());
    !host.is_empty() && !is_wildcard && port.is_some_and(|port: u16| port != 0)
}
