//! Configures TLS for `wss://` URLs, by the flags `--ca` and `--insecure`.

use websockets::Result;
use websockets::client::Connect;

use crate::flags::Flags;

/// Sets the TLS options of `connect` by the flags.
///
/// # Errors
///
/// An error message if the file of `--ca` cannot be used.
#[cfg(feature = "tls")]
pub fn configure(connect: &mut Connect, flags: &Flags) -> Result<()> {
    use common::tls::{Trust, connector};
    use native_tls::TlsConnector;

    connect.tls = Some(match &flags.ca {
        // This is not in common, because no other program of this workspace may turn the check off.
        None if flags.insecure => TlsConnector::builder()
            .danger_accept_invalid_certs(true)
            .danger_accept_invalid_hostnames(true)
            .build()?
            .into(),
        None => connector(Trust::SystemRoots)?,
        Some(pem) => connector(Trust::File(pem.clone()))?,
    });
    Ok(())
}

/// Does nothing, because this program was built without TLS.
///
/// # Errors
///
/// An error message with the right build command, if the flags need TLS.
#[cfg(not(feature = "tls"))]
pub fn configure(_: &mut Connect, flags: &Flags) -> Result<()> {
    let wss = flags.url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("wss://"));
    if wss || flags.ca.is_some() || flags.insecure {
        return Err("this talk was built without TLS; build it with: \
                    cargo run -p talk --features tls -- wss://…"
            .into());
    }
    Ok(())
}
