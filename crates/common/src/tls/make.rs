//! Makes the certificate for localhost, and its key.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rcgen::{KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize};
use tempfile::{Builder, NamedTempFile, PersistError};
use x509_parser::time::ASN1Time;

use crate::Result;

/// 397 days, including the last second. Apple recommends no more.
const VALID: Duration = Duration::from_secs(397 * 24 * 60 * 60 - 1);
/// An hour, for clients whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// Makes a certificate for localhost and its key in the [default file](super::default_path) if there
/// is no such file, and logs that. If two programs do this at the same time, one makes the file and
/// both find it. Returns the path of the file.
///
/// # Errors
///
/// One sentence, if the file cannot be written.
pub fn ensure_default() -> Result<PathBuf> {
    let pem = super::default_path();
    ensure(&pem)?;
    Ok(pem)
}

/// Like [`ensure_default`], for the file `pem`.
///
/// # Errors
///
/// One sentence, if the file cannot be written.
pub fn ensure(pem: &Path) -> Result<()> {
    if pem.exists() {
        return Ok(());
    }
    // On a file system without links, rename instead.
    let put = |file: NamedTempFile| match file.persist_noclobber(pem) {
        Err(error) if !pem.exists() => error.file.persist(pem),
        done => done,
    };
    match place(pem, put) {
        Ok(line) => tracing::info!("{line}"),
        Err(_) if pem.exists() => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Makes a certificate for localhost and its key in the file `pem`, which is replaced in one step.
/// Returns one line with the file, the last day (UTC) of its validity, and the SHA-256 fingerprint
/// as `openssl x509 -fingerprint -sha256` prints it.
///
/// # Errors
///
/// One sentence with the file, the fault and the fix, if the file cannot be written.
pub fn make(pem: &Path) -> Result<String> {
    place(pem, |file| file.persist(pem))
}

fn place(
    pem: &Path,
    put: impl FnOnce(NamedTempFile) -> std::result::Result<File, PersistError>,
) -> Result<String> {
    // Use RSA, because native-tls on macOS and Windows imports no other key.
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let mut params = CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.not_before = ASN1Time::now().to_datetime() - BACKDATED;
    params.not_after = params.not_before + VALID;
    // This certificate is not an authority, so a thief of the key can pose as localhost only.
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    let fingerprint = digest(&SHA256, certificate.der());
    let fingerprint: Vec<_> =
        fingerprint.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();

    let written = write(pem, &(key.serialize_pem() + &certificate.pem()));
    let placed = written.and_then(|file| put(file).map_err(|error| error.error));
    let (file, until) = (pem.display(), params.not_after.date());
    placed.map_err(|error| {
        format!("cannot write {file} ({error}); check that its folder is writable")
    })?;
    let fingerprint = fingerprint.join(":");
    Ok(format!("made {file}, valid until {until}, SHA-256 fingerprint {fingerprint}"))
}

/// Writes a private file next to `pem`, which the caller then moves into place. Its name ends in
/// `.pem`, too, so that git ignores it even if the program is killed in between.
fn write(pem: &Path, text: &str) -> io::Result<NamedTempFile> {
    let folder = pem.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder)?;
    let mut file = Builder::new().suffix(".pem").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    // A power cut after the file is moved must not leave an empty file.
    file.as_file().sync_all()?;
    Ok(file)
}
