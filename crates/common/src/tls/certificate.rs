//! Reads and checks the PEM file of a certificate and its key, so that a wrong file gives an error
//! that helps, and not the text of a TLS library.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use pem::Pem;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;

/// The keys and the certificates in `pem`. There is at least one certificate, and all can be
/// parsed. A byte order mark, CRLF, text between the blocks and blocks of other kinds are allowed.
pub(crate) fn read(pem: &Path, hint: &str) -> Result<(Vec<Pem>, Vec<Pem>), String> {
    let (keys, mut others) = read_keys(pem, hint)?;
    others.retain(|block| block.tag() == "CERTIFICATE");
    if others.is_empty() {
        return Err(format!("{} has no certificate; {}", pem.display(), another(pem)));
    }
    Ok((keys, others))
}

/// The keys in `pem`, and the other blocks. All certificates among them can be parsed.
pub(crate) fn read_keys(pem: &Path, hint: &str) -> Result<(Vec<Pem>, Vec<Pem>), String> {
    let file = pem.display();
    let text = fs::read(pem).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no {file}; {hint}"),
        _ => format!("cannot read {file} ({error}); check its path and its permissions"),
    })?;
    let blocks = pem::parse_many(&text).unwrap_or_default();
    let whole = |block: &Pem| block.tag() != "CERTIFICATE" || parse(block).is_some();
    // `pem` silently stops at a truncated block, so we count the blocks.
    let begun = String::from_utf8_lossy(&text).matches("-----BEGIN ").count();
    if begun != blocks.len() || !blocks.iter().all(whole) {
        return Err(format!("{file} is damaged; {}", another(pem)));
    }
    Ok(blocks.into_iter().partition(|block| block.tag().ends_with("PRIVATE KEY")))
}

fn parse(block: &Pem) -> Option<X509Certificate<'_>> {
    let parsed = x509_parser::parse_x509_certificate(block.contents());
    parsed.ok().map(|(_, certificate)| certificate)
}

/// How to get a better file. The hint to delete is only for files that this project makes.
fn another(pem: &Path) -> String {
    if pem == super::default_path() {
        "delete it and start wss-server again, or run scripts/make-cert".to_owned()
    } else {
        "get a new one from its source".to_owned()
    }
}

/// Whether the key belongs to the certificate. OpenSSL decides, because an EC key may have its
/// public half in another form than the certificate, or not at all (RFC 5915, section 3).
#[cfg(not(any(windows, target_vendor = "apple")))]
pub(crate) fn fits(certificate: &Pem, key: &Pem) -> bool {
    use openssl::{pkey::PKey, x509::X509};
    let public = X509::from_der(certificate.contents()).and_then(|own| own.public_key());
    let private = PKey::private_key_from_der(key.contents());
    matches!((public, private), (Ok(public), Ok(private)) if public.public_eq(&private))
}

/// Whether the key belongs to the certificate. Both contain the same RSA modulus (RFC 8017, A.1.2).
/// For other kinds this only compares the algorithms, because the TLS library checks the rest.
#[cfg(any(windows, target_vendor = "apple"))]
pub(crate) fn fits(certificate: &Pem, key: &Pem) -> bool {
    use x509_parser::public_key::PublicKey;
    let Some(certificate) = parse(certificate) else {
        return false;
    };
    let public = certificate.public_key().parsed();
    let shared = match &public {
        Ok(PublicKey::RSA(rsa)) => rsa.modulus,
        _ => certificate.public_key().algorithm.algorithm.as_bytes(),
    };
    let mut windows = key.contents().windows(shared.len().max(1));
    windows.any(|window| window == shared)
}

/// Finds the reasons for which a client would reject the server's certificate.
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
        "{whose} is for {names:?}, not for {host}; serve there, or pass one for {host} with --cert"
    ))
}

/// The hosts of a certificate. Browsers read subjectAltName, not the common name.
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

/// Ignores case, and `*.` stands for one label (RFC 6125).
fn covers(name: &str, host: &str) -> bool {
    let parents = name.strip_prefix("*.").zip(host.split_once('.'));
    name.eq_ignore_ascii_case(host)
        || parents.is_some_and(|(name, (_, host))| name.eq_ignore_ascii_case(host))
}
