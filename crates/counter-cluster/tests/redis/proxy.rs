use std::path::{Path, PathBuf};
use std::process::{Command as Sync, Stdio};

use testing::{Program, free_port, soon};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A real nginx or Caddy in front of two servers, with the configuration that we give to users.
/// Only names and ports are changed. It is killed when this is dropped.
pub struct Proxy {
    _child: Child,
    pub port: u16,
    folder: PathBuf,
}

impl Proxy {
    pub async fn nginx(servers: &[Program; 2]) -> Self {
        let (folder, port) = (folder(), free_port());
        let listen = format!("listen 127.0.0.1:{port}");
        let site = configuration("nginx.conf", servers, &[("listen 8080", &listen)]);
        let of = |name| format!("{name}_temp_path {};", folder.display());
        let temporary: String =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(of).concat();
        let around = format!(
            "daemon off; master_process off; pid {0}/pid; error_log stderr; events {{}}
             http {{ access_log off; {temporary} {site} }}",
            folder.display()
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, around).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&folder).arg("-c").arg(&file).args(["-e", "stderr"]);
        Self::start(command, "nginx-light", folder, port).await
    }

    /// Starts Caddy with a new certificate, and returns the certificate.
    pub async fn caddy(servers: &[Program; 2]) -> (Self, PathBuf) {
        let (folder, port) = (folder(), free_port());
        let [key, cert] = certificate(&folder);
        let address = format!("localhost:{port} {{");
        let tls =
            format!("{address}\n\tbind 127.0.0.1\n\ttls {} {}", cert.display(), key.display());
        let site = configuration("Caddyfile", servers, &[("counter.example.org {", &tls)]);
        let file = folder.join("Caddyfile");
        let options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n";
        std::fs::write(&file, format!("{options}{site}")).unwrap();
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file);
        command.env("XDG_DATA_HOME", &folder).env("XDG_CONFIG_HOME", &folder);
        (Self::start(command, "caddy", folder, port).await, cert)
    }

    async fn start(mut command: Command, package: &str, folder: PathBuf, port: u16) -> Self {
        let log = std::fs::File::create(folder.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let child = command.spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("{command:?} does not start: {error}; install {package}")
        });
        let listening = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                if child.try_wait().unwrap().is_some() {
                    panic!("{}", std::fs::read_to_string(folder.join("log")).unwrap());
                }
                tokio::task::yield_now().await;
            }
        };
        soon("the proxy", listening).await;
        Self { _child: child, port, folder }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One of our configuration files, with the addresses of these servers and with `changes`.
fn configuration(name: &str, servers: &[Program; 2], changes: &[(&str, &str)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let mut text = std::fs::read_to_string(file).unwrap();
    let servers = servers.each_ref().map(|server| server.address.to_string());
    let addresses = [("127.0.0.1:7001", &*servers[0]), ("127.0.0.1:7002", &*servers[1])];
    for (from, to) in changes.iter().chain(&addresses) {
        assert!(text.contains(from), "{name} does not contain {from}");
        text = text.replace(from, to);
    }
    text
}

/// A key, and a certificate for localhost.
pub fn certificate(folder: &Path) -> [PathBuf; 2] {
    let [key, cert] = ["key.pem", "cert.pem"].map(|name| folder.join(name));
    let made = Sync::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output();
    let made = made.unwrap_or_else(|error| panic!("no certificate: {error}; install openssl"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    [key, cert]
}

/// Makes a new folder for a program that a test starts.
pub fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.join(format!("test-{:016x}", fastrand::u64(..)));
    std::fs::create_dir(&folder).unwrap();
    folder
}
