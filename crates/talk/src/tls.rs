//! Configures TLS for `wss://` URLs, by the flags `--ca`, `--insecure`, `--cert` and
//! `--key`.

use websockets::Result;
use websockets::client::Connect;

use crate::flags::Flags;

/// Sets the TLS options of `connect` by the flags.
///
/// # Errors
///
/// An error message if the file of a flag cannot be used.
#[cfg(feature = "tls")]
pub fn configure(connect: &mut Connect, flags: &Flags) -> Result<()> {
    use common::tls::{Trust, client_identity, connector_builder};

    let mut builder = match &flags.ca {
        None => connector_builder(Trust::SystemRoots)?,
        Some(pem) => connector_builder(Trust::File(pem.clone()))?,
    };
    // This is not in common, because no other program of this workspace may turn the check off.
    builder.danger_accept_invalid_certs(flags.insecure);
    builder.danger_accept_invalid_hostnames(flags.insecure);
    if let Some(cert) = &flags.cert {
        builder.identity(client_identity(cert, flags.key.as_deref())?);
    }
    connect.tls = Some(builder.build()?.into());
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
    if wss || flags.ca.is_some() || flags.cert.is_some() || flags.insecure {
        return Err("this talk was built without TLS; build it with: \
                    cargo run -p talk --features tls -- wss://…"
            .into());
    }
    Ok(())
}
