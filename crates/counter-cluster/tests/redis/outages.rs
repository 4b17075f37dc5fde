use std::time::{Duration, Instant};

use testing::{Program, Signal, http, limit, soon};

use crate::client::{Client, Received};
use crate::losses::LOST_DATA;
use crate::node;
use crate::redis_server::RedisServer;

pub const READYZ: &str = "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn clients_see_an_outage_and_recover() {
    let mut redis =
        RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let ([a, _b], [mut one, mut two]) = two_servers_at(&redis, 3).await;

    redis.kill().await;
    for client in [&mut one, &mut two] {
        client.wait_for_error("the shared counter is unreachable; this value may be").await;
    }
    two.click("plus");
    two.wait_for_error("the shared counter is unreachable; try again").await;
    assert_eq!(one.received().errors.len(), 1);
    let ready = http(a.address, READYZ).await;
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("cannot use Redis"), "{ready}");
    let alive = http(a.address, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(alive.starts_with("HTTP/1.1 200 ") && alive.ends_with("ok\n"), "{alive}");
    // A new client receives the last known state, and an error that it may be out of date.
    let mut new_client = Client::join(&a.url()).await;
    assert_eq!(new_client.received().value(), 3);
    new_client.wait_for_error("unreachable").await;

    redis.restart().await;
    let back = Instant::now();
    for client in [&mut one, &mut two, &mut new_client] {
        client
            .wait_until("the state once more", |received| received.values.ends_with(&[3, 3]))
            .await;
        client.wait_for_users(3).await;
    }
    println!("seen after {:?}", back.elapsed());
    assert!(back.elapsed() < limit(Duration::from_secs(2)), "seen after {:?}", back.elapsed());
    two.click("plus");
    one.wait_for_value(4).await;
    assert!(http(a.address, READYZ).await.ends_with("ready\n"));
    assert!(!a.log().contains(LOST_DATA), "{}", a.log());
}

#[tokio::test]
async fn a_server_disconnects_before_it_reconnects() {
    let redis = RedisServer::start().await;
    let server = node(&redis, &[]).await;
    let mut client = Client::join(&server.url()).await;
    let () = redis.command(&["CONFIG", "SET", "maxclients", "1"]).await;
    redis.signal(Signal::STOP);
    client.click("plus");
    client.wait_for_error("out of date").await;
    redis.signal(Signal::CONT);
    let back = Instant::now();
    client.wait_until("the way back", |received| received.values.len() > 1).await;
    assert!(back.elapsed() < limit(Duration::from_secs(2)), "back after {:?}", back.elapsed());
}

#[tokio::test]
async fn a_server_stops_quickly_without_redis() {
    for hangs in [false, true] {
        let mut redis = RedisServer::start().await;
        let mut server = node(&redis, &["--close-timeout", "1"]).await;
        let client = Client::join(&server.url()).await;
        match hangs {
            true => redis.signal(Signal::STOP),
            false => redis.kill().await,
        }
        client.click("plus");
        let began = Instant::now();
        server.terminate();
        assert!(server.exit().await.success());
        // This is the time to close the connections, and for one call.
        assert!(began.elapsed() < limit(Duration::from_secs(3)), "it took {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn every_click_is_counted_or_reported_during_pauses() {
    let redis = RedisServer::start().await;
    let nodes = [node(&redis, &[]).await, node(&redis, &[]).await];
    let clients = clients(&nodes, 6).await;
    let clicking = click_for(&clients, Duration::from_millis(5500));
    tokio::time::sleep(Duration::from_millis(1000)).await;
    redis.signal(Signal::STOP);
    tokio::time::sleep(Duration::from_secs(3)).await;
    redis.signal(Signal::CONT);
    let back = Instant::now();
    let ready = async { while !http(nodes[0].address, READYZ).await.ends_with("ready\n") {} };
    soon("a ready server", ready).await;
    assert!(back.elapsed() < limit(Duration::from_secs(2)), "ready after {:?}", back.elapsed());
    let clicks = clicking.await.unwrap();
    let received = assert_every_click_accounted(&redis, &clients, clicks).await;
    assert!(
        received.iter().all(|received| received.count("out of date") > 0),
        "some client received no warning"
    );
}

#[tokio::test]
async fn every_click_is_counted_or_reported_despite_cuts() {
    let redis = RedisServer::start().await;
    let nodes = [node(&redis, &[]).await, node(&redis, &[]).await];
    let clients = clients(&nodes, 6).await;
    let clicking = click_for(&clients, Duration::from_secs(4));
    while !clicking.is_finished() {
        tokio::time::sleep(Duration::from_millis(300)).await;
        for kind in ["normal", "pubsub"] {
            let _: usize = redis.command(&["CLIENT", "KILL", "TYPE", kind]).await;
        }
    }
    let received = assert_every_click_accounted(&redis, &clients, clicking.await.unwrap()).await;
    assert!(
        received.iter().all(|received| received.count("out of date") > 0),
        "some client received no warning"
    );
}

#[tokio::test]
async fn a_slow_redis_counts_as_down() {
    let redis = RedisServer::start_for_debug().await;
    let nodes = [node(&redis, &[]).await, node(&redis, &[]).await];
    let clients = clients(&nodes, 6).await;
    let clicking = click_for(&clients, Duration::from_secs(2));
    for _ in 0..3 {
        let () = redis.command(&["DEBUG", "SLEEP", "0.3"]).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let clicks = clicking.await.unwrap();
    let received = assert_every_click_accounted(&redis, &clients, clicks).await;
    assert!(received.iter().all(|received| received.errors.is_empty()), "{received:?}");

    let clicking = click_for(&clients, Duration::from_millis(3500));
    let () = redis.command(&["DEBUG", "SLEEP", "2"]).await;
    let received =
        assert_every_click_accounted(&redis, &clients, clicks + clicking.await.unwrap()).await;
    assert!(
        received.iter().all(|received| received.count("out of date") > 0),
        "some client received no warning"
    );
}

/// Two servers with one client each. Both clients have received `value`.
pub async fn two_servers_at(redis: &RedisServer, value: i64) -> ([Program; 2], [Client; 2]) {
    let nodes = [node(redis, &[]).await, node(redis, &[]).await];
    let mut clients = [Client::join(&nodes[0].url()).await, Client::join(&nodes[1].url()).await];
    (0..value).for_each(|_| clients[0].click("plus"));
    for client in &mut clients {
        client.wait_for_value(value).await;
    }
    (nodes, clients)
}

/// Connects `count` clients, spread over the servers.
pub async fn clients(nodes: &[Program], count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for n in 0..count {
        clients.push(Client::join(&nodes[n % nodes.len()].url()).await);
    }
    clients
}

/// Lets every client click `plus` every few milliseconds. Returns the total number of clicks.
fn click_for(clients: &[Client], time: Duration) -> tokio::task::JoinHandle<usize> {
    let clicks: Vec<_> = clients.iter().map(Client::clicker).collect();
    tokio::spawn(async move {
        let (began, mut count) = (Instant::now(), 0);
        while began.elapsed() < time {
            for click in &clicks {
                click.send("plus").unwrap();
                count += 1;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        count
    })
}

/// Checks that Redis counted every click once, or that its user received an error. Also checks that
/// all clients agree on the value, and that no client received an older value after a newer one.
async fn assert_every_click_accounted(
    redis: &RedisServer,
    clients: &[Client],
    clicks: usize,
) -> Vec<Received> {
    let settled = async {
        loop {
            let value = redis.value().await;
            let received: Vec<_> = clients.iter().map(Client::received).collect();
            let unknown: usize =
                received.iter().map(|received| received.count("may or may not")).sum();
            let refused: usize = received.iter().map(|received| received.count("try again")).sum();
            let counted = value as usize;
            if received.iter().all(|received| received.value() == value)
                && counted + refused + unknown >= clicks
            {
                println!("{clicks} clicks, {value} counted, {refused} refused, {unknown} unknown");
                assert!(counted + refused <= clicks, "a click was counted twice");
                for received in &received {
                    assert!(received.values.is_sorted(), "a value went back");
                }
                return received;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("agreement", settled).await
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn endless_clicks_during_an_outage_cost_no_memory() {
    use testing::memory::resident_kib;
    use tokio::io::AsyncWriteExt;

    let mut redis = RedisServer::start().await;
    let server = node(&redis, &[]).await;
    let mut other = Client::join(&server.url()).await;
    redis.kill().await;
    other.wait_for_error("out of date").await;
    let before = resident_kib(server.pid());
    let mut flooder = testing::Raw::open_narrow(server.address).await;
    let clicks = testing::frame(0x81, r#"{"action":"plus"}"#).repeat(1000);
    // Send until the server reads no more, but at most a million clicks.
    for _ in 0..1000 {
        let write = flooder.stream.write_all(&clicks);
        if tokio::time::timeout(Duration::from_millis(500), write).await.is_err() {
            break;
        }
    }
    other.click("plus");
    other.wait_for_error("unreachable; try again").await;
    let grown = resident_kib(server.pid()).saturating_sub(before);
    println!("grown by {grown} KiB");
    assert!(grown < 4096, "grown by {grown} KiB");
}
