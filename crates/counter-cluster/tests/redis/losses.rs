use std::time::{Duration, Instant};

use testing::{Signal, limit};

use crate::client::Client;
use crate::node;
use crate::outages::{clients, two_servers_at};
use crate::redis_server::RedisServer;

pub const LOST_DATA: &str = "Redis has lost data";

#[tokio::test]
async fn an_emptied_redis_restarts_the_count_loudly() {
    let mut redis = RedisServer::start().await;
    let ([a, b], [mut one, mut two]) = two_servers_at(&redis, 5).await;
    redis.kill().await;
    redis.restart().await;
    let back = Instant::now();
    for client in [&mut one, &mut two] {
        client.wait_for_value(0).await;
        client.wait_for_users(2).await;
    }
    assert!(back.elapsed() < limit(Duration::from_secs(2)), "seen after {:?}", back.elapsed());
    for server in [&a, &b] {
        server.logged("Redis has lost data: the counter goes from 5 to 0").await;
    }
    two.click("plus");
    one.wait_for_value(1).await;
}

#[tokio::test]
async fn older_data_is_detected_after_further_clicks() {
    let mut redis = RedisServer::start().await;
    let (a, b) = (node(&redis, &[]).await, node(&redis, &[]).await);
    let (mut one, mut two) = (Client::join(&a.url()).await, Client::join(&b.url()).await);
    one.click("plus");
    two.wait_for_value(1).await;
    let () = redis.command(&["SAVE"]).await;
    (0..3).for_each(|_| {
        one.click("plus");
    });
    one.wait_for_value(4).await;
    two.wait_for_value(4).await;
    // Server b sees the restart only after server a has made more changes than were lost.
    b.signal(Signal::STOP);
    redis.kill().await;
    redis.restart().await;
    one.wait_for_value(1).await;
    for n in 1..=6 {
        one.click("minus");
        one.wait_for_value(1 - n).await;
    }
    b.signal(Signal::CONT);
    two.wait_for_value(-5).await;
    a.logged("Redis has lost data: the counter goes from 4 to 1").await;
    b.logged("Redis has lost data: the counter goes from 4 to -5").await;
}

#[tokio::test]
async fn the_next_click_detects_an_emptied_redis() {
    let redis = RedisServer::start().await;
    let flags = ["--redis-heartbeat", "300"];
    let (a, b) = (node(&redis, &flags).await, node(&redis, &flags).await);
    let (mut one, mut two) = (Client::join(&a.url()).await, Client::join(&b.url()).await);
    for n in 1..=9 {
        one.click("plus");
        one.wait_for_value(n).await;
        two.wait_for_value(n).await;
    }
    let () = redis.command(&["FLUSHALL"]).await;
    one.click("plus");
    for client in [&mut one, &mut two] {
        client.wait_for_value(1).await;
        client.wait_for_users(2).await;
    }
    a.logged(LOST_DATA).await;
    b.logged(LOST_DATA).await;
}

#[tokio::test]
async fn readers_and_absent_servers_detect_an_emptied_redis() {
    let redis = RedisServer::start().await;
    let flags = ["--redis-heartbeat", "300"];
    let nodes =
        [node(&redis, &flags).await, node(&redis, &flags).await, node(&redis, &flags).await];
    let mut clients = clients(&nodes, 3).await;
    (0..5).for_each(|_| clients[0].click("plus"));
    for client in &mut clients {
        client.wait_for_value(5).await;
        client.wait_for_users(3).await;
    }
    // Now each server has a new connection that has not received a message yet.
    let _: usize = redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    for client in &mut clients {
        client
            .wait_until("the state once more", |received| received.values.ends_with(&[5, 5]))
            .await;
    }
    nodes[2].signal(Signal::STOP);
    let () = redis.command(&["FLUSHALL"]).await;
    for n in 1..=20 {
        clients[0].click("minus");
        for client in &mut clients[..2] {
            client.wait_for_value(-n).await;
        }
    }
    nodes[2].signal(Signal::CONT);
    clients[2].wait_for_value(-20).await;
    for server in &nodes {
        server.logged(LOST_DATA).await;
    }
}

#[tokio::test]
async fn two_restarts_hide_no_loss_from_anyone() {
    let mut redis = RedisServer::start().await;
    let ([_a, b], [mut one, mut two]) = two_servers_at(&redis, 5).await;
    b.signal(Signal::STOP);
    redis.kill().await;
    redis.restart().await;
    one.wait_for_value(0).await;
    for n in 1..=20 {
        one.click("minus");
        one.wait_for_value(-n).await;
    }
    let () = redis.command(&["SAVE"]).await;
    redis.kill().await;
    redis.restart().await;
    b.signal(Signal::CONT);
    two.wait_for_value(-20).await;
    b.logged("Redis has lost data: the counter goes from 5 to -20").await;
}

/// Replaces the counter with an older copy of it, in the same Redis process.
async fn restore_older_copy(redis: &RedisServer, dump: &redis::Value) {
    let redis::Value::BulkString(dump) = dump else { panic!("no dump") };
    redis.restore("{counter}:counter", dump).await;
}

#[tokio::test]
async fn every_server_detects_a_restored_older_copy() {
    for is_cut in [false, true] {
        let redis = RedisServer::start().await;
        // With a long heartbeat, a server calls Redis only because of the steps below.
        let flags = ["--redis-heartbeat", "300"];
        let (a, b) = (node(&redis, &flags).await, node(&redis, &flags).await);
        let (mut one, mut two) = (Client::join(&a.url()).await, Client::join(&b.url()).await);
        click_up_to(&mut one, &mut two, 1..=3).await;
        let dump = redis.command(&["DUMP", "{counter}:counter"]).await;
        click_up_to(&mut one, &mut two, 4..=9).await;
        restore_older_copy(&redis, &dump).await;
        if is_cut {
            let _: usize = redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        } else {
            // A new client must soon receive 3 instead of 9.
            let mut new_client = Client::join(&a.url()).await;
            new_client.wait_for_value(3).await;
        }
        for client in [&mut one, &mut two] {
            client.wait_for_value(3).await;
        }
        for server in [&a, &b] {
            server.logged("Redis has lost data: the counter goes from 9 to 3").await;
        }
        two.click("minus");
        one.wait_for_value(2).await;
    }
}

#[tokio::test]
async fn every_server_detects_data_loss_after_failback() {
    for is_cut in [false, true] {
        let (old, new) = (RedisServer::start().await, RedisServer::start().await);
        let flags = ["--redis-heartbeat", "300"];
        let (a, b) = (node(&old, &flags).await, node(&old, &flags).await);
        let (mut one, mut two) = (Client::join(&a.url()).await, Client::join(&b.url()).await);
        click_up_to(&mut one, &mut two, 1..=3).await;
        new.replicates(&old).await;
        while new.value().await != 3 {}
        // The replica cannot reach its master, and lags behind at 3.
        let () = new.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
        click_up_to(&mut one, &mut two, 4..=9).await;
        fail_over_and_back(&old, &new).await;
        assert_eq!(old.value().await, 3);
        if is_cut {
            let _: usize = old.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        } else {
            one.click("plus");
        }
        let value = if is_cut { 3 } else { 4 };
        for client in [&mut one, &mut two] {
            client.wait_for_value(value).await;
        }
        a.logged(LOST_DATA).await;
        b.logged(LOST_DATA).await;
        two.click("plus");
        one.wait_for_value(value + 1).await;
    }
}

#[tokio::test]
async fn an_absent_server_detects_failback_after_further_clicks() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let flags = ["--redis-heartbeat", "300"];
    let (a, b) = (node(&old, &flags).await, node(&old, &flags).await);
    let (mut one, mut two) = (Client::join(&a.url()).await, Client::join(&b.url()).await);
    new.replicates(&old).await;
    let () = new.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    click_up_to(&mut one, &mut two, 1..=9).await;
    a.signal(Signal::STOP);
    b.signal(Signal::STOP);
    fail_over_and_back(&old, &new).await;
    let c = node(&old, &flags).await;
    let mut three = Client::join(&c.url()).await;
    for n in 1..=20 {
        three.click("minus");
        three.wait_for_value(-n).await;
    }
    a.signal(Signal::CONT);
    b.signal(Signal::CONT);
    for client in [&mut one, &mut two] {
        client.wait_for_value(-20).await;
    }
    a.logged("Redis has lost data: the counter goes from 9 to -20").await;
    b.logged("Redis has lost data: the counter goes from 9 to -20").await;
}

/// Promotes the replica, makes the old master its replica, and promotes the old master again.
async fn fail_over_and_back(old: &RedisServer, new: &RedisServer) {
    let () = new.command(&["REPLICAOF", "NO", "ONE"]).await;
    old.replicates(new).await;
    let () = old.command(&["REPLICAOF", "NO", "ONE"]).await;
}

#[tokio::test]
async fn a_returning_server_hides_no_loss_from_others() {
    let redis = RedisServer::start().await;
    let flags = ["--redis-heartbeat", "300"];
    let (a, b) = (node(&redis, &flags).await, node(&redis, &flags).await);
    let (mut one, mut two) = (Client::join(&a.url()).await, Client::join(&b.url()).await);
    click_up_to(&mut one, &mut two, 1..=3).await;
    let dump = redis.command(&["DUMP", "{counter}:counter"]).await;
    click_up_to(&mut one, &mut two, 4..=9).await;
    restore_older_copy(&redis, &dump).await;
    // Server c has never seen the values 4 to 9.
    let c = node(&redis, &flags).await;
    let mut three = Client::join(&c.url()).await;
    three.click("plus");
    for client in [&mut one, &mut two, &mut three] {
        client.wait_for_value(4).await;
    }
    a.logged(LOST_DATA).await;
    b.logged(LOST_DATA).await;
    assert!(!c.log().contains(LOST_DATA), "{}", c.log());
}

/// Client `one` clicks `plus` until the last of these values. Both clients receive each value.
async fn click_up_to(one: &mut Client, two: &mut Client, values: std::ops::RangeInclusive<i64>) {
    for value in values {
        one.click("plus");
        one.wait_for_value(value).await;
        two.wait_for_value(value).await;
    }
}
