//! Real proxies, if they are installed: tinyproxy for CONNECT, microsocks for SOCKS 5.

use std::path::PathBuf;
use std::process::Stdio;

use futures_util::{SinkExt, StreamExt};
use testing::{free_port, soon};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tungstenite::Message;

use crate::{EXE, accept, ended, listen};

/// Starts a proxy and waits until it listens. Prints a line and returns `None` if it is not
/// installed.
async fn start(name: &str, arguments: &[&str], port: u16) -> Option<Child> {
    let mut command = Command::new(name);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let Ok(proxy) = command.spawn() else {
        eprintln!("skipped: {name} is not installed");
        let expected =
            cfg!(target_os = "linux") && std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!expected, "{name} is not installed");
        return None;
    };
    let listening = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    soon("the proxy", listening).await;
    Some(proxy)
}

async fn tinyproxy() -> Option<(Child, u16)> {
    let port = free_port();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("tinyproxy-{port}.conf"));
    let rules = format!("Port {port}\nListen 127.0.0.1\nBasicAuth ada secret\nMaxClients 10\n");
    std::fs::write(&file, rules).unwrap();
    let proxy = start("tinyproxy", &["-d", "-c", file.to_str().unwrap()], port).await?;
    Some((proxy, port))
}

async fn microsocks() -> Option<(Child, u16)> {
    let port = free_port();
    let arguments = ["-i", "127.0.0.1", "-p", &port.to_string(), "-u", "ada", "-P", "secret"];
    Some((start("microsocks", &arguments, port).await?, port))
}

/// Runs talk with this proxy in its environment, until it ends.
pub async fn talk_through(proxy: &str, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(EXE);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.args(arguments).env("ALL_PROXY", proxy).stdin(Stdio::null()).kill_on_drop(true);
    soon("talk", command.output()).await.unwrap()
}

/// Each kind of proxy, with its port.
pub async fn real() -> Vec<(Child, u16, &'static str)> {
    let mut proxies = Vec::new();
    if let Some((proxy, port)) = tinyproxy().await {
        proxies.push((proxy, port, "http"));
    }
    if let Some((proxy, port)) = microsocks().await {
        proxies.push((proxy, port, "socks5h"));
    }
    proxies
}

#[tokio::test]
async fn a_conversation_goes_through_a_real_proxy() {
    for (_proxy, port, scheme) in real().await {
        let (listener, url) = listen().await;
        let server = async {
            let mut socket = accept(&listener).await;
            socket.send(Message::text("through")).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
        };
        let by_name = url.replace("127.0.0.1", "localhost");
        let arguments = [by_name.as_str(), "--wait", "0.2"];
        let proxy = format!("{scheme}://ada:secret@127.0.0.1:{port}");
        let (output, ()) = tokio::join!(talk_through(&proxy, &arguments), server);
        assert_eq!(ended(&output), (Some(0), "< through\n", "closed: 1000, OK\n"), "{scheme}");
    }
}

#[tokio::test]
async fn a_real_proxy_that_refuses_is_one_sentence() {
    for (_proxy, port, scheme) in real().await {
        let no_server = format!("ws://127.0.0.1:{}", free_port());
        let proxy = format!("{scheme}://ada:secret@127.0.0.1:{port}");
        let stranger = format!("{scheme}://eve:guess@127.0.0.1:{port}");
        for (proxy, says) in [(proxy, "onnect to"), (stranger, "requires a different login")] {
            let output = talk_through(&proxy, &[&no_server]).await;
            let (status, _, said) = ended(&output);
            assert!(said.contains(&format!("the proxy {scheme}://127.0.0.1:{port} ")), "{said}");
            assert!(said.contains(says), "{scheme}: {said}");
            assert!(!said.contains("secret") && !said.contains("guess"), "{said}");
            assert_eq!((status, said.lines().count()), (Some(1), 1));
        }
    }
}
