use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use testing::{Peer, Program, http, run};

use crate::{EXE, start};

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[tokio::test]
async fn localhost_is_both_loopback_addresses_on_one_port() {
    let mut server = start(&[]).await;
    let port = server.address.port();
    let mut hosts = vec!["127.0.0.1"];
    if has_ipv6() {
        assert_eq!(server.line().await.unwrap(), format!("listening on ws://[::1]:{port}"));
        hosts.push("[::1]");
    }
    assert_eq!(server.line().await.unwrap(), format!("open http://localhost:{port}/ in a browser"));
    for host in hosts {
        let mut peer = Peer::connect(&format!("ws://{host}:{port}")).await;
        peer.send("Ada").await;
        assert_eq!(peer.text().await, "Hello Ada!");
    }
}

#[tokio::test]
async fn a_numeric_address_is_bound_alone() {
    let mut server = Program::start(EXE, &["127.0.0.1:0"]).await;
    assert_eq!(server.address.ip(), Ipv4Addr::LOCALHOST);
    let port = server.address.port();
    assert_eq!(server.line().await.unwrap(), format!("open http://127.0.0.1:{port}/ in a browser"));
    // The port is still free on the other family.
    if has_ipv6() {
        TcpListener::bind((Ipv6Addr::LOCALHOST, port)).unwrap();
        let server = Program::start(EXE, &["[::1]:0"]).await;
        assert_eq!(server.address.ip(), Ipv6Addr::LOCALHOST);
        assert!(
            http(server.address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .contains(" 200 ")
        );
    }
}

#[tokio::test]
async fn an_ipv6_address_without_brackets_is_announced_with_them() {
    if !has_ipv6() {
        return eprintln!("skipped: there is no IPv6");
    }
    for address in ["::1:0", "[::1]:0", "[0:0:0:0:0:0:0:1]:0"] {
        let mut server = Program::start(EXE, &[address]).await;
        let port = server.address.port();
        let url = format!("http://[::1]:{port}");
        assert_eq!(server.line().await.unwrap(), format!("open {url}/ in a browser"));
        assert!(Peer::connect_from(&server.url(), &url).await.is_ok());
    }
}

#[tokio::test]
async fn every_address_of_the_machine_is_opened_as_localhost() {
    let mut server = Program::start(EXE, &["0.0.0.0:0"]).await;
    let port = server.address.port();
    assert_eq!(server.line().await.unwrap(), format!("open http://localhost:{port}/ in a browser"));
}

#[tokio::test]
async fn a_port_in_use_ends_with_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("127.0.0.1:{}", taken.local_addr().unwrap().port());
    fails(&address, &format!("the address {address} is in use; stop the other program")).await;
}

#[tokio::test]
async fn an_invalid_address_exits_1_with_one_line() {
    fails("8765", "is not HOST:PORT").await;
    fails("localhost:http", "is not HOST:PORT").await;
    fails("localhost:65536", "is not HOST:PORT").await;
    fails("no-such-host.invalid:0", "the host \"no-such-host.invalid\" is unknown").await;
    fails("192.0.2.1:0", "is not an address of this machine").await;
}

async fn fails(address: &str, says: &str) {
    let output = run(EXE, &[address], "").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(says) && stderr.lines().count() == 1, "{stderr}");
}

#[cfg(unix)]
mod unix {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};
    use std::process::Stdio;

    use testing::{HANDSHAKE, frame, soon};
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::process::Command;

    use super::*;

    /// A path that no other test uses, short enough for a socket.
    fn path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("hello-{}-{name}", std::process::id()));
        _ = std::fs::remove_file(&path);
        path
    }

    fn address(path: &Path) -> String {
        format!("unix:{}", path.display())
    }

    /// The response to a handshake and a name.
    async fn greet(path: &Path, headers: &str) -> String {
        let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
        let handshake = HANDSHAKE.replace("Host:", &format!("{headers}Host:"));
        let request = [handshake.as_bytes(), &frame(0x81, "Ada")].concat();
        stream.write_all(&request).await.unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"Hello Ada!\x88\x02\x03\xe8") {
            assert_ne!(soon("a response", stream.read_buf(&mut response)).await.unwrap(), 0);
        }
        stream.write_all(&frame(0x88, [3, 0xe8])).await.unwrap();
        String::from_utf8_lossy(&response).into_owned()
    }

    #[tokio::test]
    async fn a_unix_socket_replaces_a_stale_file() {
        let path = path("stale");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        // Neither the limit for an address nor X-Forwarded-For applies.
        let args = [&address(&path), "--max-connections-per-address", "1"];
        let mut server = Program::start(EXE, &args).await;
        for _ in 0..2 {
            let response = greet(&path, "X-Forwarded-For: 192.0.2.1\r\n").await;
            assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        }
        assert_eq!(server.line().await.unwrap(), "< Ada");
        fails(&address(&path), "; stop the other program, or use another path").await;
        server.terminate();
        assert!(server.exit().await.success());
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_kept() {
        let path = path("file");
        std::fs::write(&path, "text").unwrap();
        fails(&address(&path), "it is not a socket; use another path").await;
        assert_eq!(std::fs::read(&path).unwrap(), b"text");
        fails(&address(&path.join("below")), "; use a path in a folder").await;
        let missing = path.with_extension("missing").join("socket");
        fails(&address(&missing), "; make its folder, or use another path").await;
        fails("unix:", "has no path; use one like unix:/run/a.sock").await;
        std::fs::remove_file(&path).unwrap();
    }

    /// Starts the server as systemd does, with this socket, and returns its first lines.
    async fn activate(socket: OwnedFd, lines: usize) -> (tokio::process::Child, Vec<String>) {
        let mut child = Command::new(EXE)
            .envs([("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "0")])
            .stdin(socket)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut first = Vec::new();
        while first.len() < lines {
            first.push(soon("a line", stdout.next_line()).await.unwrap().unwrap());
        }
        (child, first)
    }

    #[tokio::test]
    async fn sockets_that_systemd_passes_are_used() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (_child, lines) = activate(listener.into(), 2).await;
        let page = format!("open http://{address}/ in a browser");
        assert_eq!(lines, [format!("listening on ws://{address}"), page]);
        let healthz = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        assert!(http(address, healthz).await.contains(" 200 "));

        let path = path("systemd");
        let listener = UnixListener::bind(&path).unwrap();
        let (mut child, lines) = activate(listener.into(), 1).await;
        assert_eq!(lines, [format!("listening on unix:{}", path.display())]);
        greet(&path, "").await;
        testing::kill(child.id().unwrap(), testing::Signal::TERM);
        assert!(soon("the end", child.wait()).await.unwrap().success());
        // It is systemd's file.
        std::fs::remove_file(&path).unwrap();

        let wrong = [("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "999")];
        let output = Command::new(EXE).envs(wrong).output();
        let output = soon("the end", output).await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("; use ListenStream= in systemd"), "{stderr}");
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1));
    }
}
