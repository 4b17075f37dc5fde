use std::net::IpAddr;

use testing::{Peer, Program, run};
use tokio::process::Command;

use crate::EXE;

/// Of the range that is kept for examples (RFC 5737): no machine has it.
const LAN: &str = "192.0.2.2";

/// The second network is one of our own, which only root may make.
#[tokio::test]
async fn a_page_opened_by_lan_address_is_allowed() {
    let setup = format!("ip link set lo up && ip address add {LAN}/32 dev lo && exec \"$@\"");
    let args = ["--net", "sh", "-c", &setup, "sh"];
    let may = Command::new("unshare").args(args).arg("true").output().await;
    if !may.is_ok_and(|output| output.status.success()) {
        return eprintln!("skipped: a network of its own needs root, unshare and ip");
    }
    let inside = ["--exact", "lan::inside_of_that_network", "--ignored", "--nocapture"];
    let exe = std::env::current_exe().unwrap();
    let args = [&args[..], &[exe.to_str().unwrap()], &inside].concat();
    let output = run("unshare", &args, "").await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "the test above runs it"]
async fn inside_of_that_network() {
    // Use the address of the command line, and one of those on which the server listens.
    for told in [LAN, "0.0.0.0"] {
        let mut server = Program::start(EXE, &[&format!("{told}:0")]).await;
        let port = server.address.port();
        let announced = server.line_with("open ").await;
        let host = if told == LAN { LAN } else { "localhost" };
        assert_eq!(announced, format!("open http://{host}:{port}/ in a browser"));
        assert_eq!(told == LAN, server.address.ip() == LAN.parse::<IpAddr>().unwrap());

        let url = format!("ws://{LAN}:{port}");
        let page = format!("http://{LAN}:{port}");
        let mut peer = Peer::connect_from(&url, &page).await.ok().unwrap();
        peer.send("Ada").await;
        assert_eq!(peer.text().await, "Hello Ada!");
        for foreign in ["http://192.0.2.3".to_owned(), format!("http://phone.example:{port}")] {
            assert_eq!(Peer::connect_from(&url, &foreign).await.err(), Some(403), "{foreign}");
        }
    }
}
