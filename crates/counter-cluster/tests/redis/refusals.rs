use std::path::Path;
use std::time::{Duration, Instant};

use testing::{Signal, http, run};

use crate::EXE;
use crate::client::Client;
use crate::outages::{READYZ, two_servers_at};
use crate::redis_server::RedisServer;

/// The rights that a user of Redis needs to share a counter: keys, channel and commands.
const RIGHTS: [&str; 13] = [
    "~{counter}:*",
    "&{counter}:updates:*",
    "+subscribe",
    "+publish",
    "+evalsha",
    "+script|load",
    "+hget",
    "+hset",
    "+hdel",
    "+hgetall",
    "+hincrby",
    "+time",
    "+info",
];

#[tokio::test]
async fn a_server_starts_only_with_all_listed_rights() {
    let redis = RedisServer::start().await;
    let url = format!("redis://app:secret@127.0.0.1:{}/", redis.port());
    let new_user = ["ACL", "SETUSER", "app", "reset", "resetchannels", "on", ">secret"];
    let () = redis.command(&[&new_user[..], &RIGHTS].concat()).await;
    let server = testing::Program::start(EXE, &["127.0.0.1:0", "--redis", &url]).await;
    let mut one = Client::join(&server.url()).await;
    one.click("plus");
    one.wait_for_value(1).await;
    for missing in RIGHTS {
        // Another server must not find the script that the server above has loaded.
        let () = redis.command(&["SCRIPT", "FLUSH"]).await;
        let rights: Vec<_> = RIGHTS.into_iter().filter(|right| *right != missing).collect();
        let () = redis.command(&[&new_user[..], &rights].concat()).await;
        let output = run(EXE, &["127.0.0.1:0", "--redis", &url], "").await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "without {missing}: {said}");
        assert_eq!(said.lines().count(), 1, "without {missing}: {said}");
        assert!(!said.contains("secret"), "without {missing}: {said}");
        for right in RIGHTS {
            assert!(said.contains(right), "without {missing}: {said}");
        }
    }
    // A key may also be read or written only.
    for half in ["%R~{counter}:*", "%W~{counter}:*"] {
        let rights = [&["~{counter}:n*", "~{counter}:c*", half], &RIGHTS[1..]].concat();
        let () = redis.command(&[&new_user[..], &rights].concat()).await;
        let output = run(EXE, &["127.0.0.1:0", "--redis", &url], "").await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("give its user ~{counter}:*"), "with {half}: {said}");
    }
}

#[tokio::test]
async fn a_right_revoked_later_loses_no_click_silently() {
    let redis = RedisServer::start().await;
    let ([_a, _b], [mut one, mut two]) = two_servers_at(&redis, 3).await;
    let () = redis.command(&["ACL", "SETUSER", "default", "-publish"]).await;
    one.click("plus");
    one.wait_for_error("refused your click; try again").await;
    one.wait_for_error("out of date").await;
    assert_eq!(redis.value().await, 3);
    let () = redis.command(&["ACL", "SETUSER", "default", "+publish"]).await;
    one.wait_until("the state once more", |received| received.values.ends_with(&[3, 3])).await;
    one.click("plus");
    two.wait_for_value(4).await;
}

#[tokio::test]
async fn a_full_redis_rejects_clicks_until_freed() {
    let redis = RedisServer::start().await;
    let ([a, _b], [mut one, mut two]) = two_servers_at(&redis, 3).await;
    let () = redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    one.click("plus");
    one.wait_for_error("refused your click; try again").await;
    two.click("plus");
    two.wait_for_error("try again").await;
    // While Redis is full, every attempt to reconnect fails.
    let tries = Instant::now();
    while tries.elapsed() < Duration::from_secs(1) {
        let ready = http(a.address, READYZ).await;
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("OOM"), "{ready}");
    }
    let () = redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    for client in [&mut one, &mut two] {
        client.wait_until("the way back", |received| received.values.ends_with(&[3, 3])).await;
        assert_eq!(client.received().count("out of date"), 1);
        assert_eq!(client.received().count("may or may not"), 0);
    }
    one.click("plus");
    two.wait_for_value(4).await;
}

#[tokio::test]
async fn a_replica_rejects_clicks_until_it_is_promoted() {
    let (redis, other) = (RedisServer::start().await, RedisServer::start().await);
    let ([_a, _b], [mut one, mut two]) = two_servers_at(&redis, 3).await;
    // The other Redis does not answer, so the data does not change.
    other.signal(Signal::STOP);
    let () = redis.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]).await;
    one.click("plus");
    one.wait_for_error("refused your click; try again").await;
    let () = redis.command(&["REPLICAOF", "NO", "ONE"]).await;
    one.wait_until("the way back", |received| received.values.ends_with(&[3, 3])).await;
    two.click("plus");
    for client in [&mut one, &mut two] {
        client.wait_for_value(4).await;
        assert_eq!(client.received().count("may or may not"), 0);
    }
}

#[tokio::test]
async fn a_redis_cluster_and_a_sentinel_are_rejected() {
    let config = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sentinel.conf");
    std::fs::write(&config, "").unwrap();
    for flags in [&["--cluster-enabled", "yes"][..], &[config.to_str().unwrap(), "--sentinel"]] {
        let redis = RedisServer::start_with(flags).await;
        let output = run(EXE, &["127.0.0.1:0", "--redis", &redis.url()], "").await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("only a single Redis or its primary can be used"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[tokio::test]
async fn each_new_reason_is_logged_once() {
    let redis = RedisServer::start().await;
    let ([a, _b], [mut one, _two]) = two_servers_at(&redis, 3).await;
    // A new password, and the end of the connections that were opened without it.
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for command in ["CONFIG SET requirepass secret", "CLIENT KILL TYPE pubsub"] {
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| _ = command.arg(word));
        command.exec_async(&mut connection).await.unwrap();
    }
    one.wait_for_error("out of date").await;
    a.logged("cannot use Redis: NOAUTH").await;
    while !http(a.address, READYZ).await.contains("NOAUTH") {}
    assert_eq!(a.log().matches("NOAUTH").count(), 1, "{}", a.log());
}
