use std::time::{Duration, Instant};

use testing::Signal;

use crate::client::Client;
use crate::node;
use crate::outages::{clients, two_at};
use crate::redis_server::RedisServer;

pub const LOST: &str = "Redis has lost data";

#[tokio::test]
async fn a_redis_that_comes_back_without_its_data_counts_anew_and_the_log_says_so() {
    let mut redis = RedisServer::start().await;
    let ([a, b], [mut one, mut two]) = two_at(&redis, 5).await;
    redis.kill().await;
    redis.restart().await;
    let back = Instant::now();
    for client in [&mut one, &mut two] {
        client.hears_value(0).await;
        client.hears_users(2).await;
    }
    assert!(back.elapsed() < Duration::from_secs(2), "seen after {:?}", back.elapsed());
    for server in [&a, &b] {
        server.logged("Redis has lost data: the counter goes from 5 to 0").await;
    }
    two.click("plus");
    one.hears_value(1).await;
}

#[tokio::test]
async fn a_redis_that_comes_back_with_older_data_is_found_out_even_when_others_have_counted_on() {
    let mut redis = RedisServer::start().await;
    let (a, b) = (node(&redis, &[]).await, node(&redis, &[]).await);
    let (mut one, mut two) = (Client::join(&a.url()).await, Client::join(&b.url()).await);
    one.click("plus");
    two.hears_value(1).await;
    let () = redis.command(&["SAVE"]).await;
    (0..3).for_each(|_| {
        one.click("plus");
    });
    one.hears_value(4).await;
    two.hears_value(4).await;
    // One server does not see the restart before the other has made more changes than were lost.
    b.signal(Signal::STOP);
    redis.kill().await;
    redis.restart().await;
    one.hears_value(1).await;
    for n in 1..=6 {
        one.click("minus");
        one.hears_value(1 - n).await;
    }
    b.signal(Signal::CONT);
    two.hears_value(-5).await;
    a.logged("Redis has lost data: the counter goes from 4 to 1").await;
    b.logged("Redis has lost data: the counter goes from 4 to -5").await;
}

#[tokio::test]
async fn an_emptied_redis_is_noticed_at_the_next_click_of_anybody() {
    let redis = RedisServer::start().await;
    let flags = ["--redis-heartbeat", "300"];
    let (a, b) = (node(&redis, &flags).await, node(&redis, &flags).await);
    let (mut one, mut two) = (Client::join(&a.url()).await, Client::join(&b.url()).await);
    for n in 1..=9 {
        one.click("plus");
        one.hears_value(n).await;
        two.hears_value(n).await;
    }
    let () = redis.command(&["FLUSHALL"]).await;
    one.click("plus");
    for client in [&mut one, &mut two] {
        client.hears_value(1).await;
        client.hears_users(2).await;
    }
    a.logged(LOST).await;
    b.logged(LOST).await;
}

#[tokio::test]
async fn a_redis_that_was_emptied_is_found_out_by_who_has_only_read_and_by_who_was_not_there() {
    let redis = RedisServer::start().await;
    let flags = ["--redis-heartbeat", "300"];
    let nodes =
        [node(&redis, &flags).await, node(&redis, &flags).await, node(&redis, &flags).await];
    let mut clients = clients(&nodes, 3).await;
    (0..5).for_each(|_| clients[0].click("plus"));
    for client in &mut clients {
        client.hears_value(5).await;
        client.hears_users(3).await;
    }
    // All have a new connection, over which no message has come.
    let _: usize = redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    for client in &mut clients {
        client.hears("the state once more", |told| told.values.ends_with(&[5, 5])).await;
    }
    nodes[2].signal(Signal::STOP);
    let () = redis.command(&["FLUSHALL"]).await;
    for n in 1..=20 {
        clients[0].click("minus");
        for client in &mut clients[..2] {
            client.hears_value(-n).await;
        }
    }
    nodes[2].signal(Signal::CONT);
    clients[2].hears_value(-20).await;
    for server in &nodes {
        server.logged(LOST).await;
    }
}

#[tokio::test]
async fn two_restarts_while_a_server_is_out_do_not_hide_from_it_what_was_lost() {
    let mut redis = RedisServer::start().await;
    let ([_a, b], [mut one, mut two]) = two_at(&redis, 5).await;
    b.signal(Signal::STOP);
    redis.kill().await;
    redis.restart().await;
    one.hears_value(0).await;
    for n in 1..=20 {
        one.click("minus");
        one.hears_value(-n).await;
    }
    let () = redis.command(&["SAVE"]).await;
    redis.kill().await;
    redis.restart().await;
    b.signal(Signal::CONT);
    two.hears_value(-20).await;
    b.logged("Redis has lost data: the counter goes from 5 to -20").await;
}
