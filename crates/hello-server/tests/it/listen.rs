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
async fn a_port_in_use_is_one_sentence_and_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("127.0.0.1:{}", taken.local_addr().unwrap().port());
    fails(&address, &format!("the address {address} is in use; stop the other program")).await;
}

#[tokio::test]
async fn an_address_that_makes_no_sense_is_one_sentence_and_status_1() {
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
