//! Good and bad certificates, at wss-server and at its clients. Each test makes its own keys.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use common::tls::{Trust, connector, default_path};
use common::{Result, tls};
use native_tls::{Identity, TlsAcceptor};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rcgen::{DnType, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};
use testing::{Program, run, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use websockets::client::connect_tls;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::public_key::PublicKey;

const EXE: &str = env!("CARGO_BIN_EXE_wss-server");

/// An empty folder that no other test uses.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn key() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

/// A key and its certificate for localhost, changed by `change`.
fn made(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = key();
    let mut params = CertificateParams::new(["localhost".into(), "127.0.0.1".into()]).unwrap();
    change(&mut params);
    (key.serialize_pem(), params.self_signed(&key).unwrap().pem())
}

fn expired(params: &mut CertificateParams) {
    params.not_after = date_time_ymd(2020, 2, 29);
}

fn of_the_future(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2999, 1, 1);
}

fn for_no_host(params: &mut CertificateParams) {
    params.subject_alt_names.clear();
}

fn for_another_host(params: &mut CertificateParams) {
    let other = CertificateParams::new(["example.org".into(), "192.0.2.1".into()]).unwrap();
    params.subject_alt_names = other.subject_alt_names;
}

/// Writes `text` with the mode that a key should have.
fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

async fn start(pem: &Path) -> Program {
    let pem = pem.to_str().unwrap();
    Program::start(EXE, &["127.0.0.1:0", "--cert", pem]).await
}

/// Connects as wss-client does, sends nothing and disconnects.
async fn connect(address: SocketAddr, trust: Trust) -> Result<()> {
    let url = format!("wss://{address}");
    connect_tls(&url, connector(trust)?, async |_| Ok(())).await
}

fn only(pem: &Path) -> Trust {
    Trust::File(pem.to_owned())
}

/// The error message of wss-client, which fails to connect to `address`.
async fn refusal(address: SocketAddr, trust: Trust) -> String {
    connect(address, trust).await.unwrap_err().to_string()
}

/// A server that, unlike wss-server, accepts any certificate for itself.
async fn careless((key, certificate): &(String, String)) -> SocketAddr {
    let identity = Identity::from_pkcs8(certificate.as_bytes(), key.as_bytes()).unwrap();
    let acceptor = tokio_native_tls::TlsAcceptor::from(TlsAcceptor::new(identity).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            _ = acceptor.accept(stream).await;
        }
    });
    address
}

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
    let authority_key = self::key();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority");
    let authority = params.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(params, authority_key);
    let key = self::key();
    let own = CertificateParams::new(["127.0.0.1".into()]).unwrap();
    let own = own.signed_by(&key, &issuer).unwrap().pem();
    let (pem, ca) = (folder.join("chain.pem"), folder.join("ca.pem"));
    write(&pem, format!("{authority}{own}{}", key.serialize_pem()));
    write(&ca, authority);
    connect(start(&pem).await.address, only(&ca)).await.unwrap();
}

/// Keys on a curve, which not every system's TLS library reads.
#[cfg(target_os = "linux")]
mod curves {
    use rcgen::PKCS_ECDSA_P256_SHA256;

    use super::*;

    /// A DER value: its tag, the length, and the content of less than 128 bytes.
    fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
        [&[tag, contents.len() as u8][..], contents].concat()
    }

    /// A PKCS#8 key on the curve P-256 (RFC 5915), with this optional form of its public half.
    fn ec_key(private: &[u8], public: Option<&[u8]>) -> String {
        let public = public.map(|point| der(0xa1, &der(3, &[&[0], point].concat())));
        let key = [vec![2, 1, 1], der(4, private), public.unwrap_or_default()].concat();
        // id-ecPublicKey and prime256v1
        let [kind, curve] = [&[42, 134, 72, 206, 61, 2, 1][..], &[42, 134, 72, 206, 61, 3, 1, 7]];
        let algorithm = der(0x30, &[der(6, kind), der(6, curve)].concat());
        let whole = [vec![2, 1, 0], algorithm, der(4, &der(0x30, &key))].concat();
        let mut outer = vec![0x30, 0x81, whole.len() as u8];
        outer.extend(whole);
        pem::encode(&pem::Pem::new("PRIVATE KEY", outer))
    }

    #[tokio::test]
    async fn an_ec_key_may_hold_its_public_half_in_any_form_or_not_at_all() {
        let folder = folder("ec");
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let params = CertificateParams::new(["127.0.0.1".into()]).unwrap();
        let own = params.self_signed(&key).unwrap().pem();
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "another");
        let of_another = params.self_signed(&other).unwrap().pem();
        let whole = key.serialize_der();
        let place = whole.windows(5).position(|start| start == [2, 1, 1, 4, 32]).unwrap() + 5;
        let private = &whole[place..place + 32];
        // 4, X and Y (SEC 1, section 2.3.3)
        let point = key.public_key_raw();
        let compressed = [&[2 + point[64] % 2][..], &point[1..33]].concat();
        let keys = [
            key.serialize_pem(),
            ec_key(private, None),
            ec_key(private, Some(&compressed)),
            ec_key(private, Some(point)),
        ];
        for (number, key) in keys.iter().enumerate() {
            let pem = folder.join(format!("{number}.pem"));
            // The server's own certificate is found after another one of its kind.
            write(&pem, format!("{of_another}{own}{key}"));
            let server = start(&pem).await;
            let connected = connect(server.address, only(&pem)).await;
            assert!(connected.is_ok(), "key {number}: {connected:?}");
            write(&pem, format!("{of_another}{key}"));
            fault(&pem, "is not that of its certificate; put").await;
        }
    }
}

#[tokio::test]
async fn each_fault_is_told_in_one_sentence_with_its_remedy() {
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
async fn fault(pem: &Path, sentence: &str) {
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

#[tokio::test]
async fn a_client_refuses_a_wrong_certificate_and_says_which() {
    let folder = folder("refusals");
    let pem = folder.join("trusted.pem");
    for (made, sentence) in [
        (made(expired), "has expired; make"),
        (made(of_the_future), "is not valid yet; set"),
        (made(for_another_host), "is for another host; use"),
    ] {
        write(&pem, &made.1);
        let said = refusal(careless(&made).await, only(&pem)).await;
        assert!(said.contains(sentence), "no {sentence:?} in {said:?}");
    }
    // The trusted certificate has the same name and the same form as the server's certificate.
    let server = careless(&made(|_| {})).await;
    write(&pem, made(|_| {}).1);
    for trust in [only(&pem), Trust::SystemRoots] {
        let said = refusal(server, trust).await;
        assert!(said.contains("is not trusted by this client; pass"), "{said}");
    }
    let said = refusal(server, only(&folder.join("missing.pem"))).await;
    assert!(said.contains("missing.pem; pass an existing file"), "{said}");
}

#[tokio::test]
async fn a_client_says_when_the_server_does_not_speak_tls() {
    let pem = folder("plain").join("trusted.pem");
    tls::make(&pem).unwrap();
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (said, ()) = tokio::join!(refusal(address, only(&pem)), serve);
        assert!(said.contains("does not use TLS; start wss-server there"), "{said}");
    }
}

#[tokio::test]
async fn tls_1_1_is_refused_and_1_2_is_spoken() {
    let pem = folder("versions").join("localhost.pem");
    tls::make(&pem).unwrap();
    let server = start(&pem).await;
    // These bytes are written by hand, because today's libraries do not send the first of these
    // hellos.
    for (version, understood) in [([3, 2], false), ([3, 3], true)] {
        let suites = [0xc0, 0x2f, 0xc0, 0x13, 0, 0x2f];
        // supported_groups, ec_point_formats, signature_algorithms
        let extensions = [
            &[0, 10, 0, 4, 0, 2, 0, 23][..],
            &[0, 11, 0, 2, 1, 0],
            &[0, 13, 0, 6, 0, 4, 4, 1, 8, 4],
        ];
        let extensions = extensions.concat();
        let mut hello = [&version[..], &[7; 32], &[0, 0, suites.len() as u8], &suites].concat();
        hello.extend([1, 0, 0, extensions.len() as u8]);
        hello.extend(extensions);
        let length = hello.len() as u8;
        let record = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&record).await.unwrap();
        let mut kind = [0];
        let read = soon("an answer to the hello", stream.read(&mut kind)).await;
        // 22 is a handshake record. Otherwise an alert (21) arrives, or the end.
        assert_eq!(matches!(read, Ok(1)) && kind == [22], understood, "{version:?}");
    }
}
