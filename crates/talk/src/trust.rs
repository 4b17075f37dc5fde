//! Which servers `wss://` believes.

use common::Result;
use common::client::Connect;

use crate::flags::Flags;

/// Has `connect` encrypt as the flags say.
///
/// # Errors
///
/// A sentence when the file of `--ca` cannot be used.
#[cfg(feature = "tls")]
pub fn encrypt(connect: &mut Connect, flags: &Flags) -> Result<()> {
    use common::tls::{Trust, connector};
    use native_tls::TlsConnector;

    connect.tls = Some(match &flags.ca {
        // Here rather than in common: nothing else of this workspace may turn the check off.
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

/// Says what to build, where the flags ask for encryption.
///
/// # Errors
///
/// That sentence.
#[cfg(not(feature = "tls"))]
pub fn encrypt(_: &mut Connect, flags: &Flags) -> Result<()> {
    let wss = flags.url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("wss://"));
    if wss || flags.ca.is_some() || flags.insecure {
        return Err("this talk was built without TLS; build it with: \
                    cargo run -p talk --features tls -- wss://…"
            .into());
    }
    Ok(())
}
