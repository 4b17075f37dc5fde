use std::time::{Duration, Instant};

use testing::{http, limit};

use crate::client::Client;
use crate::node;
use crate::outages::READYZ;
use crate::redis_server::RedisServer;

/// The heartbeat in seconds. A short one keeps the tests short.
const HEARTBEAT: &str = "2";

#[tokio::test]
async fn a_killed_servers_users_leave_within_two_heartbeats() {
    let redis = RedisServer::start().await;
    let flags = ["--redis-heartbeat", HEARTBEAT];
    let (a, mut b) = (node(&redis, &flags).await, node(&redis, &flags).await);
    let mut stays = Client::join(&a.url()).await;
    let mut moves = Vec::new();
    for _ in 0..5 {
        moves.push(Client::join(&b.url()).await);
    }
    stays.wait_for_users(6).await;
    moves[0].click("plus");
    stays.wait_for_value(1).await;

    let killed = Instant::now();
    b.kill().await;
    stays.wait_for_users(1).await;
    let took = killed.elapsed();
    println!("gone after {took:?}");
    assert!(took < limit(Duration::from_secs(4)), "gone after {took:?}");

    for client in moves {
        client.ended().await;
    }
    for users in 2..=6 {
        let mut back = Client::join(&a.url()).await;
        back.wait_for_users(users).await;
        back.click("plus");
        back.wait_for_value(users as i64).await;
        // This keeps its task and its connection.
        std::mem::forget(back);
    }
    stays.wait_for_users(6).await;
}

#[tokio::test]
async fn a_closing_client_or_server_leaves_at_once() {
    let redis = RedisServer::start().await;
    // The lease lasts minutes, so no server is removed because its lease ends.
    let flags = ["--redis-heartbeat", "300"];
    let (a, mut b) = (node(&redis, &flags).await, node(&redis, &flags).await);
    let mut stays = Client::join(&a.url()).await;
    let _other = Client::join(&b.url()).await;
    let third = testing::Peer::connect(&b.url()).await;
    stays.wait_for_users(3).await;
    third.close().await;
    stays.wait_for_users(2).await;
    b.terminate();
    assert!(b.exit().await.success());
    stays.wait_for_users(1).await;
    let nodes: usize = redis.command(&["HLEN", "{counter}:nodes"]).await;
    assert_eq!(nodes, 1);
}

#[tokio::test]
async fn heartbeats_keep_a_quiet_server_in_the_total() {
    let redis = RedisServer::start().await;
    let flags = ["--redis-heartbeat", "1"];
    let (a, b) = (node(&redis, &flags).await, node(&redis, &flags).await);
    let mut one = Client::join(&a.url()).await;
    let _two = Client::join(&b.url()).await;
    one.wait_for_users(2).await;
    // Longer than several leases.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(one.received().users, 2);
    assert!(http(b.address, READYZ).await.ends_with("ready\n"));
}

#[tokio::test]
async fn a_server_renews_an_expired_lease_at_once() {
    let redis = RedisServer::start().await;
    let flags = ["--redis-heartbeat", "300"];
    let (a, b) = (node(&redis, &flags).await, node(&redis, &flags).await);
    let mut one = Client::join(&a.url()).await;
    let _two = Client::join(&b.url()).await;
    one.wait_for_users(2).await;
    // This has the same effect as a clock that jumps ahead.
    let () = redis.command(&["DEL", "{counter}:nodes"]).await;
    one.click("plus");
    one.wait_for_value(1).await;
    one.wait_for_users(2).await;
    let nodes: usize = redis.command(&["HLEN", "{counter}:nodes"]).await;
    assert_eq!(nodes, 2);
}

#[tokio::test]
async fn a_clock_set_back_leaves_no_stale_users() {
    let redis = RedisServer::start().await;
    let flags = ["--redis-heartbeat", "300"];
    let (a, b) = (node(&redis, &flags).await, node(&redis, &flags).await);
    let (mut one, mut two) = (Client::join(&a.url()).await, Client::join(&b.url()).await);
    two.wait_for_users(2).await;
    // Five users of a server that was killed, and one of a server that lives, as both had written
    // them when the clock was an hour ahead.
    let nodes: Vec<String> = redis.command(&["HGETALL", "{counter}:nodes"]).await;
    for entry in nodes.chunks(2) {
        let [name, lease] = entry else { panic!("{nodes:?}") };
        let numbers: Vec<u64> = lease.split(' ').map(|number| number.parse().unwrap()).collect();
        let ahead = format!("1 {} {}", numbers[1] + 3_600_000, numbers[2]);
        let () = redis.command(&["HSET", "{counter}:nodes", name, &ahead]).await;
        let ghost = format!("5 {} {}", numbers[1] + 3_600_000, numbers[2]);
        let () = redis.command(&["HSET", "{counter}:nodes", "ghost", &ghost]).await;
    }
    one.click("plus");
    for client in [&mut one, &mut two] {
        client.wait_for_value(1).await;
        client.wait_for_users(2).await;
    }
    // This entry is invalid.
    let () = redis.command(&["HSET", "{counter}:nodes", "invalid", "junk"]).await;
    one.click("plus");
    two.wait_for_value(2).await;
    assert_eq!(two.received().users, 2);
}
