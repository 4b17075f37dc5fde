//! TLS certificates: feature `tls` loads them, feature `make-cert` makes one for localhost.
//!
//! | file | purpose |
//! | --- | --- |
//! | `load` | the TLS settings of a server and of a client |
//! | `certificate` | reads and checks a PEM file |
//! | `make` | makes the certificate for localhost |

use std::path::{Path, PathBuf};

mod certificate;
mod load;
#[cfg(feature = "make-cert")]
mod make;

pub use load::{Trust, acceptor, client_identity, connector, connector_builder, renewed_acceptor};
#[cfg(feature = "make-cert")]
pub use make::{ensure, ensure_default, make};

/// `certs/localhost.pem` of this workspace, wherever the program is started. If the current
/// directory contains it, the path is relative, because messages print it.
#[must_use]
pub fn default_path() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).unwrap_or(here);
    let path = root.join("certs").join("localhost.pem");
    let current = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(current).map(Path::to_path_buf).unwrap_or(path)
}
