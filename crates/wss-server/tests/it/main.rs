//! Tests of wss-server through the real binary. Each test makes its own keys.

/// Good and bad certificates.
mod certificate;
/// Clients that reject a server.
mod clients;
/// Keys on a curve, which not every system's TLS library reads.
#[cfg(target_os = "linux")]
mod curves;
/// The port, except for certificates.
mod tls;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use common::Result;
use common::tls::{Trust, connector};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};
use testing::Program;
use websockets::client::connect_tls;

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
