use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt;
use testing::{Peer, Raw, frame, limit};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::observer::{Observer, PLUS};
use crate::{start, start_by};

const PINGS: [&str; 4] = ["--ping-interval", "0.5", "--ping-timeout", "2"];

/// `ping_interval` + `ping_timeout`, and some time for a busy machine.
const GONE_WITHIN: Duration = Duration::from_secs(6);

/// The address to which the client in a process of its own connects.
const URL: &str = "CLIENT_CONNECTS_TO";

/// Set in the network namespace of a test.
const INSIDE: &str = "IN_OWN_NAMESPACE";

#[tokio::test]
#[ignore = "the client in a process of its own, which the tests below start"]
async fn client() {
    let mut peer = Peer::connect(&std::env::var(URL).unwrap()).await;
    // Reading answers pings.
    while let Some(Ok(_)) = peer.0.next().await {}
}

/// A command that runs one test of this program.
fn this_program(before: &[&str], test: &str) -> Command {
    let exe = std::env::current_exe().unwrap();
    let exe = [exe.to_str().unwrap(), "--include-ignored", "--exact", test, "--nocapture"];
    let words = [before, &exe].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).kill_on_drop(true);
    command
}

async fn succeeds(words: &[&str]) -> bool {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

/// The client must be counted and answer pings until `dies`, and be removed in time.
async fn dies_and_is_gone(observer: &mut Observer, dies: impl Future<Output = bool>) {
    observer.hears_users(2).await;
    // A client that does not answer would be removed before this.
    sleep(GONE_WITHIN / 2).await;
    assert_eq!(observer.told().users, 2);
    assert!(dies.await);
    let took = observer.hears_users(1).await;
    assert!(took < limit(GONE_WITHIN), "{took:?}");
    observer.is_served().await;
}

#[tokio::test]
async fn a_stopped_process_is_gone_in_time() {
    let server = start(&PINGS).await;
    let mut observer = Observer::join(&server).await;
    let mut command = this_program(&[], "dead_peers::client");
    let child = command.env(URL, server.url()).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id().unwrap().to_string();
    dies_and_is_gone(&mut observer, succeeds(&["kill", "-STOP", &pid])).await;
    server.logged("no pong within ping_timeout").await;
}

#[tokio::test]
async fn silent_and_blocked_clients_are_removed_in_time() {
    let server = start(&PINGS).await;
    let mut observer = Observer::join(&server).await;
    let mut reads = Raw::open(server.address).await;
    let reads_not = Raw::open(server.address).await;
    let mut takes_not = Raw::open_narrow(server.address).await;
    observer.hears_users(4).await;
    // Fills all buffers on the way to the peer, which does not read the values of its clicks.
    let clicks = frame(0x81, PLUS).repeat(1000);
    let blocked = async {
        while let Ok(written) =
            timeout(Duration::from_millis(200), takes_not.stream.write_all(&clicks)).await
        {
            written.unwrap();
        }
    };
    blocked.await;
    let took = observer.hears_users(1).await;
    assert!(took < limit(GONE_WITHIN), "{took:?}");
    observer.is_served().await;
    assert_eq!(reads.close_code().await, Some(1011));
    drop((reads_not, takes_not));
}

#[tokio::test]
async fn a_cut_link_is_noticed_in_time() {
    const NAMESPACE: [&str; 3] = ["unshare", "--map-root-user", "--net"];
    if std::env::var_os(INSIDE).is_some() {
        return cut_link().await;
    }
    if !succeeds(&[&NAMESPACE[..], &["ip", "link", "add", "type", "veth"]].concat()).await {
        return println!("SKIPPED: no network namespace can be made here (`ip`, `unshare`)");
    }
    // A namespace and its links end with its last process.
    let mut test = this_program(&NAMESPACE, "dead_peers::a_cut_link_is_noticed_in_time");
    let output = test.env(INSIDE, "1").output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Runs in a network namespace of its own, with a cable to the client in another one.
async fn cut_link() {
    for words in [
        "ip link set lo up",
        "ip link add near type veth peer name far",
        "ip address add 10.77.0.1/24 dev near",
        "ip link set near up",
    ] {
        assert!(succeeds(&words.split(' ').collect::<Vec<_>>()).await, "{words}");
    }
    let server = start_by(&[], &[&["0.0.0.0:0"], &PINGS[..]].concat()).await;
    let mut observer = Observer::join(&server).await;
    let _client = client_at_the_far_end(server.address.port()).await;
    dies_and_is_gone(&mut observer, succeeds(&["ip", "link", "set", "near", "down"])).await;
    server.logged("no pong within ping_timeout").await;
}

async fn client_at_the_far_end(port: u16) -> Child {
    let plug_in = "echo ready; read _; ip address add 10.77.0.2/24 dev far; ip link set far up
        exec \"$0\" \"$@\"";
    let mut client = this_program(&["unshare", "--net", "sh", "-c", plug_in], "dead_peers::client")
        .env(URL, format!("ws://10.77.0.1:{port}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
    let pid = client.id().unwrap().to_string();
    assert!(succeeds(&["ip", "link", "set", "far", "netns", &pid]).await);
    client.stdin.take().unwrap().write_all(b"\n").await.unwrap();
    // Its output is not read.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    client
}
