//! TLS for who speaks it: feature `tls` loads certificates, feature `make-cert` makes one for
//! localhost.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `load` | the server's side, and the client's side |
//! | `certificate` | what stands in a PEM file, and what a client would object to |
//! | `make` | makes the certificate for localhost |

use std::path::{Path, PathBuf};

mod certificate;
mod load;
#[cfg(feature = "make-cert")]
mod make;

pub use load::{Trust, acceptor, client_identity, connector, connector_builder, renewed_acceptor};
#[cfg(feature = "make-cert")]
pub use make::{ensure, ensure_default, make};

/// `certs/localhost.pem` of this workspace, wherever the program is started; relative to the
/// current directory when it lies below it, because it is printed in sentences.
#[must_use]
pub fn default_path() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).unwrap_or(here);
    let path = root.join("certs").join("localhost.pem");
    let current = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(current).map(Path::to_path_buf).unwrap_or(path)
}
