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

/// Puts the counter of an older time in the place of the present one, in the same process.
async fn put_back(redis: &RedisServer, dump: &redis::Value) {
    let redis::Value::BulkString(dump) = dump else { panic!("no dump") };
    redis.restore("{counter}:counter", dump).await;
}

#[tokio::test]
async fn an_older_copy_that_is_restored_is_found_out_whether_a_server_stayed_connected_or_not() {
    for is_cut in [false, true] {
        let redis = RedisServer::start().await;
        // Only what is done below lets a server call.
        let flags = ["--redis-heartbeat", "300"];
        let (a, b) = (node(&redis, &flags).await, node(&redis, &flags).await);
        let (mut one, mut two) = (Client::join(&a.url()).await, Client::join(&b.url()).await);
        counts(&mut one, &mut two, 1..=3).await;
        let dump = redis.command(&["DUMP", "{counter}:counter"]).await;
        counts(&mut one, &mut two, 4..=9).await;
        put_back(&redis, &dump).await;
        if is_cut {
            let _: usize = redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        } else {
            // A newcomer must not be told 9 for long.
            let mut newcomer = Client::join(&a.url()).await;
            newcomer.hears_value(3).await;
        }
        for client in [&mut one, &mut two] {
            client.hears_value(3).await;
        }
        for server in [&a, &b] {
            server.logged("Redis has lost data: the counter goes from 9 to 3").await;
        }
        two.click("minus");
        one.hears_value(2).await;
    }
}

#[tokio::test]
async fn a_failback_to_a_redis_that_lost_changes_is_found_out_by_who_stayed_and_by_who_was_cut_off()
{
    for is_cut in [false, true] {
        let (old, new) = (RedisServer::start().await, RedisServer::start().await);
        let flags = ["--redis-heartbeat", "300"];
        let (a, b) = (node(&old, &flags).await, node(&old, &flags).await);
        let (mut one, mut two) = (Client::join(&a.url()).await, Client::join(&b.url()).await);
        counts(&mut one, &mut two, 1..=3).await;
        new.replicates(&old).await;
        while new.value().await != 3 {}
        // The replica cannot reach its master, and lags behind at 3.
        let () = new.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
        counts(&mut one, &mut two, 4..=9).await;
        fail_over_and_back(&old, &new).await;
        assert_eq!(old.value().await, 3);
        if is_cut {
            let _: usize = old.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        } else {
            one.click("plus");
        }
        let value = if is_cut { 3 } else { 4 };
        for client in [&mut one, &mut two] {
            client.hears_value(value).await;
        }
        a.logged(LOST).await;
        b.logged(LOST).await;
        two.click("plus");
        one.hears_value(value + 1).await;
    }
}

#[tokio::test]
async fn a_failback_is_found_out_by_who_was_out_until_others_had_counted_on() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let flags = ["--redis-heartbeat", "300"];
    let (a, b) = (node(&old, &flags).await, node(&old, &flags).await);
    let (mut one, mut two) = (Client::join(&a.url()).await, Client::join(&b.url()).await);
    new.replicates(&old).await;
    let () = new.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    counts(&mut one, &mut two, 1..=9).await;
    a.signal(Signal::STOP);
    b.signal(Signal::STOP);
    fail_over_and_back(&old, &new).await;
    let c = node(&old, &flags).await;
    let mut three = Client::join(&c.url()).await;
    for n in 1..=20 {
        three.click("minus");
        three.hears_value(-n).await;
    }
    a.signal(Signal::CONT);
    b.signal(Signal::CONT);
    for client in [&mut one, &mut two] {
        client.hears_value(-20).await;
    }
    a.logged("Redis has lost data: the counter goes from 9 to -20").await;
    b.logged("Redis has lost data: the counter goes from 9 to -20").await;
}

/// The replica is promoted, the old master joins it, and is promoted in its turn.
async fn fail_over_and_back(old: &RedisServer, new: &RedisServer) {
    let () = new.command(&["REPLICAOF", "NO", "ONE"]).await;
    old.replicates(new).await;
    let () = old.command(&["REPLICAOF", "NO", "ONE"]).await;
}

#[tokio::test]
async fn a_server_that_was_out_and_counts_on_does_not_hide_from_the_others_what_was_lost() {
    let redis = RedisServer::start().await;
    let flags = ["--redis-heartbeat", "300"];
    let (a, b) = (node(&redis, &flags).await, node(&redis, &flags).await);
    let (mut one, mut two) = (Client::join(&a.url()).await, Client::join(&b.url()).await);
    counts(&mut one, &mut two, 1..=3).await;
    let dump = redis.command(&["DUMP", "{counter}:counter"]).await;
    counts(&mut one, &mut two, 4..=9).await;
    put_back(&redis, &dump).await;
    // Knows nothing of 4 to 9.
    let c = node(&redis, &flags).await;
    let mut three = Client::join(&c.url()).await;
    three.click("plus");
    for client in [&mut one, &mut two, &mut three] {
        client.hears_value(4).await;
    }
    a.logged(LOST).await;
    b.logged(LOST).await;
    assert!(!c.log().contains(LOST), "{}", c.log());
}

/// One client clicks `plus`, one by one, and both hear each value.
async fn counts(one: &mut Client, two: &mut Client, values: std::ops::RangeInclusive<i64>) {
    for value in values {
        one.click("plus");
        one.hears_value(value).await;
        two.hears_value(value).await;
    }
}
