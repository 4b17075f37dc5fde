//! The PEM file that holds the server's certificate and key: reads and checks it, so that a wrong
//! file ends in one sentence and not in a TLS library's riddle, and makes the one for localhost.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use pem::Pem;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

#[cfg(feature = "make-cert")]
pub use make::{ensure, make};

/// The keys and the certificates in `pem`, of which there is at least one, and all can be parsed.
/// A byte order mark, CRLF, text between the blocks and blocks of other kinds are no faults.
pub(crate) fn read(pem: &Path, remedy: &str) -> Result<(Vec<Pem>, Vec<Pem>), String> {
    let file = pem.display();
    let text = fs::read(pem).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no {file}; {remedy}"),
        _ => format!("cannot read {file} ({error}); check its path and its permissions"),
    })?;
    let blocks = pem::parse_many(&text).unwrap_or_default();
    let whole = |block: &Pem| block.tag() != "CERTIFICATE" || parse(block).is_some();
    // `pem` takes a block that is cut short for the end of the file, hence the count.
    let begun = String::from_utf8_lossy(&text).matches("-----BEGIN ").count();
    if begun != blocks.len() || !blocks.iter().all(whole) {
        return Err(format!("{file} is damaged; {}", another(pem)));
    }
    let (keys, mut others): (Vec<_>, Vec<_>) =
        blocks.into_iter().partition(|block| block.tag().ends_with("PRIVATE KEY"));
    others.retain(|block| block.tag() == "CERTIFICATE");
    if others.is_empty() {
        return Err(format!("{file} holds no certificate; {}", another(pem)));
    }
    Ok((keys, others))
}

fn parse(block: &Pem) -> Option<X509Certificate<'_>> {
    let parsed = x509_parser::parse_x509_certificate(block.contents());
    parsed.ok().map(|(_, certificate)| certificate)
}

/// How to come by a better file. Only what this project made itself may be deleted.
fn another(pem: &Path) -> String {
    if pem == crate::tls::default_path() {
        "delete it and start wss-server again, or run scripts/make-cert".to_owned()
    } else {
        "get it anew from where it came, or leave out --cert".to_owned()
    }
}

/// Whether key and certificate were made together. A private key repeats its public half: RSA's
/// modulus (RFC 8017, A.1.2) or the point on the curve (RFC 5915) stands in both, byte by byte.
/// Other kinds need not repeat it; of these the algorithm must agree, and the rest is left to the
/// TLS library.
pub(crate) fn fits(certificate: &Pem, key: &Pem) -> bool {
    let Some(certificate) = parse(certificate) else {
        return false;
    };
    let public = certificate.public_key().parsed();
    let shared = match &public {
        Ok(PublicKey::RSA(rsa)) => rsa.modulus,
        Ok(PublicKey::EC(point)) => point.data(),
        _ => certificate.public_key().algorithm.algorithm.as_bytes(),
    };
    let mut windows = key.contents().windows(shared.len().max(1));
    windows.any(|window| window == shared)
}

/// Finds what a client would object to in the server's own certificate.
pub(crate) fn check(pem: &Path, own: &Pem, host: &str) -> Result<(), String> {
    let Some(certificate) = parse(own) else {
        return Ok(());
    };
    let whose = format!("the certificate in {}", pem.display());
    let (now, validity) = (ASN1Time::now(), certificate.validity());
    if now > validity.not_after {
        let day = validity.not_after.to_datetime().date();
        return Err(format!("{whose} expired on {day}; {}", another(pem)));
    }
    if now < validity.not_before {
        let day = validity.not_before.to_datetime().date();
        return Err(format!("{whose} is not valid before {day}; set this machine's clock"));
    }
    let host = host.trim_matches(['[', ']']);
    let names = names(&certificate);
    let matches = match host.parse::<IpAddr>() {
        Ok(address) => address.is_unspecified() || names.contains(&address.to_string()),
        Err(_) => names.iter().any(|name| covers(name, host)),
    };
    if matches || host.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{whose} is for {names:?}, not for {host}; serve there, or name one for {host} by --cert"
    ))
}

/// The hosts a certificate is for: browsers look at subjectAltName, not at the common name.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    };
    names.filter_map(name).collect()
}

/// Case is nothing, and `*.` stands for one label (RFC 6125).
fn covers(name: &str, host: &str) -> bool {
    let parents = name.strip_prefix("*.").zip(host.split_once('.'));
    name.eq_ignore_ascii_case(host)
        || parents.is_some_and(|(name, (_, host))| name.eq_ignore_ascii_case(host))
}

#[cfg(feature = "make-cert")]
mod make {
    use std::fs::{self, OpenOptions};
    use std::io::{self, ErrorKind, Write};
    use std::path::Path;
    use std::time::Duration;

    use aws_lc_rs::digest::{SHA256, digest};
    use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
    use rcgen::{KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize};
    use x509_parser::time::ASN1Time;

    use crate::Result;

    /// 397 days, the last second included: the most that Apple advises.
    const VALID: Duration = Duration::from_secs(397 * 24 * 60 * 60 - 1);
    /// An hour, for clients whose clock is behind.
    const BACKDATED: Duration = Duration::from_secs(60 * 60);

    /// Makes a certificate for localhost and its key in `pem` if there is no such file, and says
    /// so in the log. If two programs do this at once, one makes the file and both find it.
    ///
    /// # Errors
    ///
    /// A sentence that names the file, the fault and the remedy when it cannot be written.
    pub fn ensure(pem: &Path) -> Result<()> {
        if pem.exists() {
            return Ok(());
        }
        // Unlike a rename, a link does not replace what another has put there meanwhile. A file
        // system without links gets the rename: the file is whole there too, the later one stays.
        let made = place(pem, |from, to| match fs::hard_link(from, to) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => fs::rename(from, to),
            done => done,
        });
        match made {
            Ok(line) => tracing::info!("{line}"),
            Err(_) if pem.exists() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Makes a certificate for localhost and its key in `pem`, in one step in place of what was
    /// there. Returns one line: the file, the day (UTC) it is valid until, and the SHA-256
    /// fingerprint as `openssl x509 -fingerprint -sha256` prints it.
    ///
    /// # Errors
    ///
    /// A sentence that names the file, the fault and the remedy when it cannot be written.
    pub fn make(pem: &Path) -> Result<String> {
        place(pem, |from, to| fs::rename(from, to))
    }

    fn place(pem: &Path, put: impl Fn(&Path, &Path) -> io::Result<()>) -> Result<String> {
        // RSA, because native-tls on macOS and Windows imports no other key.
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let mut params =
            CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(str::to_owned))?;
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.not_before = ASN1Time::now().to_datetime() - BACKDATED;
        params.not_after = params.not_before + VALID;
        // Not an authority: who steals the key can pose as localhost, and as nobody else.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.self_signed(&key)?;
        let fingerprint = digest(&SHA256, certificate.der());
        let fingerprint: Vec<_> =
            fingerprint.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();

        // Written under a name that nobody else uses, then put in place whole. The name ends in
        // `.pem` so that git ignores it even if we are killed in between.
        let beside = pem.with_file_name(format!(".{}.pem", fingerprint.concat()));
        let done = write(&beside, &(key.serialize_pem() + &certificate.pem()))
            .and_then(|()| put(&beside, pem));
        // A rename has left nothing to remove.
        _ = fs::remove_file(&beside);
        let (file, until) = (pem.display(), params.not_after.date());
        done.map_err(|error| {
            format!("cannot write {file} ({error}); see that its folder can be written to")
        })?;
        let fingerprint = fingerprint.join(":");
        Ok(format!("made {file}, valid until {until}, SHA-256 fingerprint {fingerprint}"))
    }

    fn write(path: &Path, text: &str) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // From the first moment on: a chmod afterwards would leave a moment to read the key.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(text.as_bytes())?;
        // A power cut after the link must not leave an empty file behind it.
        file.sync_all()
    }
}
