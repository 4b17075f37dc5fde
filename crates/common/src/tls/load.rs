//! TLS settings for a server and for a client. [`certificate`](super::certificate) reads the PEM
//! files.
//!
//! native-tls is OpenSSL on Linux, Secure Transport on macOS and SChannel on Windows. Each has its
//! own rules: all expect a key's text to begin with the key, macOS rejects certificates with a key
//! among them, and Windows takes the first block as the server's own certificate. So we pass a form
//! that all three accept.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use native_tls::{Certificate, Identity, Protocol, TlsAcceptor, TlsConnector, TlsConnectorBuilder};
use pem::{EncodeConfig, LineEnding, Pem};
use tokio::sync::watch;

use super::certificate;
use crate::{Result, check_private};

/// The certificate authorities that a client trusts. It is one or the other, because a client that
/// also trusted the system's authorities could be connected to another server with a valid
/// certificate.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The certificates in this PEM file, and no others.
    File(PathBuf),
    /// The authorities that this system trusts, and no others.
    SystemRoots,
}

/// How often the files of a certificate are read again.
const RENEWAL_CHECK: Duration = Duration::from_secs(5);

/// Like [`acceptor`], and follows the files: within 10 s after they have changed, the receiver has
/// an acceptor for the new certificate. If that cannot be used, the old one stays, and the log has
/// the reason.
///
/// # Errors
///
/// Like [`acceptor`].
pub fn renewed_acceptor(
    pem: PathBuf,
    key: Option<PathBuf>,
    host: &str,
) -> Result<watch::Receiver<tokio_native_tls::TlsAcceptor>> {
    let is_file = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    // A pipe can be read only once.
    if ![Some(&pem), key.as_ref()].into_iter().flatten().all(is_file) {
        return Ok(watch::channel(acceptor(&pem, key.as_deref(), host)?).1);
    }
    // Compare the contents, because a changed link on the path leaves the file's time as it is.
    let read = |pem: &Path, key: Option<&Path>| [Some(pem), key].map(|file| fs::read(file?).ok());
    // Read them before the certificate is loaded, so that a change in between is noticed later.
    let mut known = read(&pem, key.as_deref());
    let (sender, receiver) = watch::channel(acceptor(&pem, key.as_deref(), host)?);
    let host = host.to_owned();
    let mut last_error = String::new();
    // This is a thread and not a task, because a file system may block for long.
    let follow = move || {
        while !sender.is_closed() {
            thread::sleep(RENEWAL_CHECK);
            let current = read(&pem, key.as_deref());
            if current == known {
                continue;
            }
            match acceptor(&pem, key.as_deref(), &host) {
                Ok(acceptor) => {
                    tracing::info!("new connections use the renewed {}", pem.display());
                    sender.send_replace(acceptor);
                    known = current;
                    last_error.clear();
                }
                // Try again later, because its key may follow, or it may become valid.
                Err(error) => {
                    let error = error.to_string();
                    if error != last_error {
                        tracing::warn!("the old certificate stays in use, because {error}");
                    }
                    last_error = error;
                }
            }
        }
    };
    thread::Builder::new().name("certificate".to_owned()).spawn(follow)?;
    Ok(receiver)
}

/// Loads a server's certificate and its chain from the file `pem`, and its key from the file `key`,
/// or from `pem`, too. The minimum is TLS 1.2. Logs a warning if a group can read the key.
///
/// `host` is the name or address that clients use, with or without brackets. A wildcard such as
/// `0.0.0.0` is not checked.
///
/// # Errors
///
/// One sentence with the file, the fault and the fix, if the file is missing, unreadable or
/// damaged, has no certificate, no key, several keys or a key that is not unencrypted PKCS#8, if
/// the key is not that of the certificate, if the certificate has expired, is not valid yet or
/// is not for `host`, or if every user of this machine can read the key.
pub fn acceptor(
    pem: &Path,
    key: Option<&Path>,
    host: &str,
) -> Result<tokio_native_tls::TlsAcceptor> {
    let hint = format!("run scripts/make-cert {}, or leave out --cert", pem.display());
    let identity = identity(pem, key, host, &hint)?;
    let acceptor =
        TlsAcceptor::builder(identity).min_protocol_version(Some(Protocol::Tlsv12)).build();
    Ok(acceptor.map_err(|error| unusable(pem, &error))?.into())
}

/// Loads a client's certificate and its chain from the file `pem`, and its key from the file `key`,
/// or from `pem`, too. Give it to a [`connector_builder`] for a server that asks its clients for a
/// certificate.
///
/// # Errors
///
/// Those of [`acceptor`], without a host.
pub fn client_identity(pem: &Path, key: Option<&Path>) -> Result<Identity> {
    identity(pem, key, "", "pass an existing file with --cert")
}

fn identity(pem: &Path, key: Option<&Path>, host: &str, hint: &str) -> Result<Identity> {
    let (mut keys, mut chain) = certificate::read(pem, hint)?;
    let key_file = key.unwrap_or(pem);
    if key.is_some() {
        (keys, _) = certificate::read_keys(key_file, "pass an existing file with --key")?;
    }
    let key = only_key(key_file, &keys)?;
    // The blocks may have any order, so the key shows which certificate is the server's own. In TLS
    // it must be the first.
    let Some(own) = chain.iter().position(|block| certificate::fits(block, key)) else {
        let hint = match key_file == pem {
            true => "put a key and its certificate into one file".to_owned(),
            false => format!("pass the certificate of this key with --cert, not {}", pem.display()),
        };
        let key_file = key_file.display();
        return Err(format!("the key in {key_file} is not that of its certificate; {hint}").into());
    };
    let own = chain.remove(own);
    certificate::check(pem, &own, host)?;
    chain.insert(0, own);
    // Anyone who reads the key can pose as this server.
    check_private(key_file)?;

    let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
    let chain = pem::encode_many_config(&chain, lines);
    let key = pem::encode_config(key, lines);
    let identity = Identity::from_pkcs8(chain.as_bytes(), key.as_bytes());
    Ok(identity.map_err(|error| unusable(pem, &error))?)
}

/// The key, if it is the only one and of the one kind that native-tls reads.
fn only_key<'a>(pem: &Path, keys: &'a [Pem]) -> Result<&'a Pem> {
    let file = pem.display();
    let fault = match keys {
        [key] if key.tag() == "PRIVATE KEY" => return Ok(key),
        [key] => format!(
            "the key in {file} is an {} and must be unencrypted PKCS#8; run \
             `openssl pkey -in {file} -out key.pem` and put key.pem in its place",
            key.tag()
        ),
        [] => format!(
            "{file} has no private key; add that of its certificate, or pass its file with --key"
        ),
        _ => {
            format!("{file} has {} private keys; leave only that of its certificate", keys.len())
        }
    };
    Err(fault.into())
}

/// For faults that only the library finds, for example a key that is too small, or not RSA on macOS
/// and Windows.
fn unusable(pem: &Path, error: &native_tls::Error) -> String {
    let file = pem.display();
    format!("the TLS library cannot use {file} ({error}); an RSA key of 2048 bits works everywhere")
}

/// The TLS settings of a client for `wss://`: TLS 1.2 at least, and a server with a valid
/// certificate for its host, issued by an authority that `trust` names.
///
/// # Errors
///
/// One sentence with the file, the fault and the fix, if the file of `trust` is missing, unreadable
/// or damaged, or contains no certificate.
pub fn connector(trust: Trust) -> Result<tokio_native_tls::TlsConnector> {
    Ok(connector_builder(trust)?.build()?.into())
}

/// Like [`connector`], for a client that sets more, for example its [`client_identity`].
///
/// # Errors
///
/// Those of [`connector`].
pub fn connector_builder(trust: Trust) -> Result<TlsConnectorBuilder> {
    let mut builder = TlsConnector::builder();
    builder.min_protocol_version(Some(Protocol::Tlsv12));
    if let Trust::File(pem) = trust {
        builder.disable_built_in_roots(true);
        let hint = match pem == super::default_path() {
            true => "start wss-server once, which makes it, or run scripts/make-cert",
            false => "pass an existing file with --ca, or leave it out",
        };
        // A key in the file is ignored, because the client does not need it.
        let (_, certificates) = certificate::read(&pem, hint)?;
        for block in certificates {
            let certificate = Certificate::from_der(block.contents());
            builder.add_root_certificate(certificate.map_err(|error| unusable(&pem, &error))?);
        }
    }
    Ok(builder)
}
