use std::time::{Duration, Instant};

use testing::http;

use crate::client::Client;
use crate::node;
use crate::redis_server::RedisServer;

/// Seconds; short, so that the tests are.
const HEARTBEAT: &str = "1";

#[tokio::test]
async fn the_users_of_a_killed_server_are_gone_within_two_heartbeats_and_go_on_elsewhere() {
    let redis = RedisServer::start().await;
    let flags = ["--redis-heartbeat", HEARTBEAT];
    let (a, mut b) = (node(&redis, &flags).await, node(&redis, &flags).await);
    let mut stays = Client::join(&a.url()).await;
    let mut moves = Vec::new();
    for _ in 0..5 {
        moves.push(Client::join(&b.url()).await);
    }
    stays.hears_users(6).await;
    moves[0].click("plus");
    stays.hears_value(1).await;

    let killed = Instant::now();
    b.kill().await;
    stays.hears_users(1).await;
    let took = killed.elapsed();
    println!("gone after {took:?}");
    assert!(took < Duration::from_secs(2), "gone after {took:?}");

    for client in moves {
        client.ended().await;
    }
    for users in 2..=6 {
        let mut back = Client::join(&a.url()).await;
        back.hears_users(users).await;
        back.click("plus");
        back.hears_value(users as i64).await;
        // Its task, and with it the connection, lives on.
        std::mem::forget(back);
    }
    stays.hears_users(6).await;
}

#[tokio::test]
async fn who_says_goodbye_is_gone_at_once_and_so_is_a_server_that_is_stopped() {
    let redis = RedisServer::start().await;
    // A lease of minutes: nothing here is gone because it ended.
    let flags = ["--redis-heartbeat", "300"];
    let (a, mut b) = (node(&redis, &flags).await, node(&redis, &flags).await);
    let mut stays = Client::join(&a.url()).await;
    let _other = Client::join(&b.url()).await;
    let third = testing::Peer::connect(&b.url()).await;
    stays.hears_users(3).await;
    third.close().await;
    stays.hears_users(2).await;
    b.terminate();
    assert!(b.exit().await.success());
    stays.hears_users(1).await;
    let nodes: usize = redis.command(&["HLEN", "{counter}:nodes"]).await;
    assert_eq!(nodes, 1);
}

#[tokio::test]
async fn heartbeats_keep_a_quiet_server_in_the_total() {
    let redis = RedisServer::start().await;
    let flags = ["--redis-heartbeat", "0.3"];
    let (a, b) = (node(&redis, &flags).await, node(&redis, &flags).await);
    let mut one = Client::join(&a.url()).await;
    let _two = Client::join(&b.url()).await;
    one.hears_users(2).await;
    // Longer than several leases.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(one.told().users, 2);
    assert!(http(b.address, "GET /healthz HTTP/1.1\r\n\r\n").await.ends_with("ok\n"));
}

#[tokio::test]
async fn a_server_whose_lease_ended_too_early_says_at_once_that_it_is_still_there() {
    let redis = RedisServer::start().await;
    let flags = ["--redis-heartbeat", "300"];
    let (a, b) = (node(&redis, &flags).await, node(&redis, &flags).await);
    let mut one = Client::join(&a.url()).await;
    let _two = Client::join(&b.url()).await;
    one.hears_users(2).await;
    // As a clock does that jumps ahead.
    let () = redis.command(&["DEL", "{counter}:nodes"]).await;
    one.click("plus");
    one.hears_value(1).await;
    one.hears_users(2).await;
    let nodes: usize = redis.command(&["HLEN", "{counter}:nodes"]).await;
    assert_eq!(nodes, 2);
}
