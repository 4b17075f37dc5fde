use std::fs;
use std::path::Path;

use common::tls::{self, default_path};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer};
use testing::{Program, run};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::public_key::PublicKey;

use crate::{EXE, connect, expired, folder, for_another_host, for_no_host, key, made};
use crate::{of_the_future, only, start, write};

#[test]
fn the_certificate_is_what_browsers_and_libraries_ask_for() {
    let pem = folder("made").join("new").join("localhost.pem");
    tls::ensure(&pem).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&pem).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let text = fs::read(&pem).unwrap();
    let blocks: Vec<_> = Pem::iter_from_buffer(&text).map(|block| block.unwrap()).collect();
    let labels: Vec<_> = blocks.iter().map(|block| block.label.as_str()).collect();
    assert_eq!(labels, ["PRIVATE KEY", "CERTIFICATE"]);
    let certificate = blocks[1].parse_x509().unwrap();

    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let names = &names.value.general_names;
    let [one, two] = [vec![127, 0, 0, 1], [[0; 15].to_vec(), vec![1]].concat()];
    assert_eq!(names[0], GeneralName::DNSName("localhost"));
    assert_eq!(names[1..], [&one, &two].map(|ip| GeneralName::IPAddress(ip)));
    assert!(!certificate.basic_constraints().unwrap().unwrap().value.ca);
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth && !usage.any);
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
    let public = certificate.public_key().parsed().unwrap();
    assert!(matches!(public, PublicKey::RSA(_)) && public.key_size() == 2048);
    let [from, until] = [certificate.validity().not_before, certificate.validity().not_after];
    // Both ends are part of the time.
    assert_eq!(until.timestamp() - from.timestamp() + 1, 397 * 24 * 60 * 60);
    assert!(certificate.validity().is_valid());
}

#[tokio::test]
async fn without_cert_two_servers_share_the_workspace_certificate() {
    let before = fs::read(default_path()).ok();
    let start = || Program::start(EXE, &["127.0.0.1:0"]);
    let (one, two) = tokio::join!(start(), start());
    let after = fs::read(default_path()).unwrap();
    assert!(before.is_none_or(|before| before == after));
    for server in [one, two] {
        connect(server.address, only(&default_path())).await.unwrap();
    }
}

#[test]
fn many_starts_at_once_find_one_whole_file() {
    let folder = folder("race");
    let pem = folder.join("localhost.pem");
    let found: Vec<_> = std::thread::scope(|scope| {
        let start = || {
            tls::ensure(&pem).unwrap();
            fs::read(&pem).unwrap()
        };
        let starts = [0; 8].map(|_| scope.spawn(start));
        starts.map(|start| start.join().unwrap()).into()
    });
    assert!(found.iter().all(|text| *text == found[0]));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);

    let line = tls::make(&pem).unwrap();
    assert!(line.contains("valid until 20") && line.contains("SHA-256 fingerprint "), "{line}");
    assert_ne!(fs::read(&pem).unwrap(), found[0]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[tokio::test]
async fn blocks_may_stand_in_any_order_with_anything_between() {
    let folder = folder("order");
    let (key, own) = made(|_| {});
    let crlf = format!("{own}{key}").replace('\n', "\r\n");
    let files = [
        format!("{key}{own}"),
        format!("{own}{key}"),
        format!("\u{feff}{key}{own}"),
        format!("Bag Attributes\n  friendlyName: x\n\n{own}---\nand the key\n\n{key}the end"),
        crlf,
    ];
    for (number, text) in files.iter().enumerate() {
        let pem = folder.join(format!("{number}.pem"));
        write(&pem, text);
        let server = start(&pem).await;
        connect(server.address, only(&pem)).await.unwrap();
        assert!(!server.log().contains("chmod"), "{}", server.log());
    }
}

#[tokio::test]
async fn the_servers_own_certificate_is_found_behind_its_authoritys() {
    let folder = folder("chain");
    let authority_key = key();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority");
    let authority = params.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(params, authority_key);
    let own_key = key();
    let own = CertificateParams::new(["127.0.0.1".into()]).unwrap();
    let own = own.signed_by(&own_key, &issuer).unwrap().pem();
    let (pem, ca) = (folder.join("chain.pem"), folder.join("ca.pem"));
    write(&pem, format!("{authority}{own}{}", own_key.serialize_pem()));
    write(&ca, authority);
    connect(start(&pem).await.address, only(&ca)).await.unwrap();
}

#[tokio::test]
async fn each_certificate_fault_has_an_error_and_hint() {
    let folder = folder("faults");
    let (key, own) = made(|_| {});
    let (other_key, _) = made(|_| {});
    // The loader goes by the label.
    let old = |kind| key.replace("PRIVATE KEY", &format!("{kind} PRIVATE KEY"));
    let not_a_certificate = key.replace("PRIVATE KEY", "CERTIFICATE");
    let empty_key = "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n".to_owned();
    let damaged = own.replacen("\nMII", "\nM!I", 1);
    let cut_short = own[..own.len() / 2].to_owned();
    let cases = [
        ([String::new(), String::new()], "has no certificate; get a new one"),
        ([key.clone(), String::new()], "has no certificate; get a new one"),
        ([own.clone(), String::new()], "has no private key; add"),
        ([own.clone(), key.clone() + &other_key], "has 2 private keys; leave"),
        ([own.clone(), other_key], "is not that of its certificate; put"),
        ([own.clone(), empty_key], "is not that of its certificate; put"),
        ([own.clone(), old("EC")], "is an EC PRIVATE KEY and must be unencrypted PKCS#8; run"),
        ([own.clone(), old("RSA")], "is an RSA PRIVATE KEY and must be"),
        ([own.clone(), old("ENCRYPTED")], "is an ENCRYPTED PRIVATE KEY and must be"),
        ([key.clone(), damaged], "is damaged; get a new one"),
        ([key.clone(), cut_short], "is damaged; get a new one"),
        ([key.clone(), not_a_certificate], "is damaged; get a new one"),
        (made(expired).into(), "expired on 2020-02-29; get a new one"),
        (made(of_the_future).into(), "is not valid before 2999-01-01; set"),
        (made(for_no_host).into(), "for [], not for 127.0.0.1;"),
        (made(for_another_host).into(), r#"for ["example.org", "192.0.2.1"], not for 127.0.0.1;"#),
    ];
    for (number, (blocks, sentence)) in cases.iter().enumerate() {
        let pem = folder.join(format!("{number}.pem"));
        write(&pem, blocks.concat());
        fault(&pem, sentence).await;
    }
    fault(&folder.join("missing.pem"), "; run scripts/make-cert").await;
    fault(&folder, "; check its path and its permissions").await;
}

/// Checks that wss-server ends with status 1 and one line with the file and `sentence`.
pub(crate) async fn fault(pem: &Path, sentence: &str) {
    let file = pem.to_str().unwrap();
    let output = run(EXE, &["127.0.0.1:0", "--cert", file], "").await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(file) && said.contains(sentence), "no {sentence:?} in {said:?}");
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn certificate_and_key_may_be_two_files() {
    let folder = folder("two_files");
    let [cert, key, other] = ["fullchain.pem", "privkey.pem", "other.pem"].map(|f| folder.join(f));
    let [cert_file, key_file, other_file] = [&cert, &key, &other].map(|f| f.to_str().unwrap());
    let (private, own) = made(|_| {});
    write(&cert, &own);
    write(&key, private);
    let server =
        Program::start(EXE, &["127.0.0.1:0", "--cert", cert_file, "--key", key_file]).await;
    connect(server.address, only(&cert)).await.unwrap();
    for (text, says) in [
        (None, "there is no ".to_owned() + other_file + "; pass an existing file with --key"),
        (Some(own), format!("{other_file} has no private key; add")),
        (Some(made(|_| {}).0), format!("the key in {other_file} is not that of its certificate;")),
    ] {
        _ = text.map(|text| write(&other, text));
        let args = ["127.0.0.1:0", "--cert", cert_file, "--key", other_file];
        let output = run(EXE, &args, "").await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&says) && said.lines().count() == 1, "no {says:?} in {said:?}");
        assert_eq!(output.status.code(), Some(1));
    }
    let output = run(EXE, &["127.0.0.1:0", "--key", key_file], "").await;
    assert!(String::from_utf8(output.stderr).unwrap().contains("--cert <FILE>"));
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let folder = folder("renewed");
    let [pem, old, new] = ["own.pem", "old.pem", "new.pem"].map(|file| folder.join(file));
    for file in [&old, &new] {
        tls::make(file).unwrap();
    }
    fs::copy(&old, &pem).unwrap();
    let server = start(&pem).await;
    connect(server.address, only(&old)).await.unwrap();

    // A broken one changes nothing.
    write(&pem, made(expired).1);
    server.logged("the old certificate stays in use, because ").await;
    connect(server.address, only(&old)).await.unwrap();

    fs::rename(&new, &pem).unwrap();
    server.logged("new connections use the renewed ").await;
    connect(server.address, only(&pem)).await.unwrap();
    assert!(connect(server.address, only(&old)).await.is_err());
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_that_everyone_can_read_is_rejected() {
    use std::os::unix::fs::PermissionsExt;
    let pem = folder("mode").join("lax.pem");
    tls::make(&pem).unwrap();
    fs::set_permissions(&pem, fs::Permissions::from_mode(0o640)).unwrap();
    let server = start(&pem).await;
    server.logged("a group has access to ").await;
    server.logged("lax.pem (0640); run chmod 600 ").await;
    connect(server.address, only(&pem)).await.unwrap();

    fs::set_permissions(&pem, fs::Permissions::from_mode(0o644)).unwrap();
    let out = run(EXE, &["127.0.0.1:0", "--cert", pem.to_str().unwrap()], "").await;
    let error = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{error}");
    assert!(error.contains("lax.pem (0644); run chmod 600 "), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
