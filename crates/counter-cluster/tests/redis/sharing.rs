use testing::Program;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::redis_server::RedisServer;
use crate::{EXE, node};

#[tokio::test]
async fn sixty_clients_see_every_value_once_in_order() {
    let redis = RedisServer::start().await;
    let nodes = three(&redis).await;
    let mut clients = Vec::new();
    for n in 0..60 {
        clients.push(Client::join(&nodes[n % 3].url()).await);
    }
    let mut tasks = JoinSet::new();
    for (n, mut client) in clients.into_iter().enumerate() {
        tasks.spawn(async move {
            client.wait_for_users(60).await;
            // Twenty more plus than minus in all.
            for click in 0..100 {
                let plus = if n % 2 == 0 { click % 2 == 0 } else { click < 50 };
                client.click(if plus || (n < 10 && click == 99) { "plus" } else { "minus" });
            }
            client.wait_until("6,000 changes", |received| received.values.len() == 6001).await;
            client.received()
        });
    }
    let received = tasks.join_all().await;
    let first = &received[0].values;
    assert_eq!(redis.value().await, 20);
    assert_eq!(first.last(), Some(&20));
    for received in &received {
        assert!(received.values == *first, "the actions differ");
        assert!(received.errors.is_empty(), "{:?}", received.errors);
    }
    for step in first.windows(2) {
        assert_eq!((step[1] - step[0]).abs(), 1, "a value is missing or came twice");
    }
}

#[tokio::test]
async fn a_new_client_receives_the_shared_value() {
    let redis = RedisServer::start().await;
    let nodes = three(&redis).await;
    let mut one = Client::join(&nodes[0].url()).await;
    (0..5).for_each(|_| one.click("minus"));
    one.wait_for_value(-5).await;
    for node in &nodes {
        Client::join(&node.url()).await.wait_for_value(-5).await;
    }
    // A server that starts later shares the value. A server with another prefix has its own.
    Client::join(&node(&redis, &[]).await.url()).await.wait_for_value(-5).await;
    Client::join(&node(&redis, &["--redis-prefix", "b"]).await.url()).await.wait_for_value(0).await;
}

#[tokio::test]
async fn two_databases_of_one_redis_are_two_counters() {
    let redis = RedisServer::start().await;
    let mut clients = Vec::new();
    for db in ["0", "1"] {
        let url = redis.url() + db;
        let server = Program::start(EXE, &["127.0.0.1:0", "--redis", &url]).await;
        clients.push((Client::join(&server.url()).await, server));
    }
    for (action, clicks) in [("plus", 3), ("minus", 5)] {
        let (client, _) = &mut clients[usize::from(action == "minus")];
        (0..clicks).for_each(|_| client.click(action));
        client.wait_until(action, |received| received.values.len() == 1 + clicks).await;
    }
    assert_eq!(clients[0].0.received().values, [0, 1, 2, 3]);
    assert_eq!(clients[1].0.received().values, [0, -1, -2, -3, -4, -5]);
    assert!(clients.iter().all(|(client, _)| client.received().users == 1));
}

#[tokio::test]
async fn an_overflow_is_rejected_and_reported() {
    let redis = RedisServer::start().await;
    for (end, beyond, back) in [(i64::MAX, "plus", "minus"), (i64::MIN, "minus", "plus")] {
        let value = end.to_string();
        let () = redis.command(&["HSET", "{counter}:counter", "value", &value]).await;
        let (a, b) = (node(&redis, &[]).await, node(&redis, &[]).await);
        let (mut one, mut two) = (Client::join(&a.url()).await, Client::join(&b.url()).await);
        one.wait_for_value(end).await;
        one.click(beyond);
        one.wait_for_error("no further").await;
        // Redis refuses only the clicks of a call that would leave the range.
        for action in [beyond, back, beyond, beyond] {
            one.click(action);
        }
        one.wait_until("all refusals", |received| received.count("no further") == 3).await;
        two.wait_for_value(end).await;
        assert_eq!(redis.value().await, end);
        assert!(two.received().errors.is_empty());
        assert!(
            two.received().values.iter().all(|&value| value == end || value == end - end.signum())
        );
    }
}

#[tokio::test]
async fn a_gap_makes_the_server_read_from_redis() {
    let redis = RedisServer::start().await;
    let server = node(&redis, &[]).await;
    let mut client = Client::join(&server.url()).await;
    client.click("plus");
    client.wait_for_value(1).await;
    let () = redis.command(&["HSET", "{counter}:counter", "value", "7"]).await;
    let () = redis.command(&["HINCRBY", "{counter}:counter", "seq", "3"]).await;
    let epoch: String = redis.command(&["HGET", "{counter}:counter", "epoch"]).await;
    let update =
        format!(r#"{{"epoch":"{epoch}","seq":99,"value":50,"clicks":"+","users":{{"a":9}}}}"#);
    let () = redis.command(&["PUBLISH", "{counter}:updates:0", &update]).await;
    client.wait_for_value(7).await;
    client.click("plus");
    client.wait_for_value(8).await;
    assert_eq!(client.received().values, [0, 1, 7, 8]);
    assert_eq!(client.received().users, 1);
}

#[tokio::test]
async fn an_invalid_update_ends_no_connection() {
    let redis = RedisServer::start().await;
    let server = node(&redis, &[]).await;
    let mut client = Client::join(&server.url()).await;
    for invalid in ["", "{", "[]", r#"{"seq":-1}"#, "\u{1b}[2J", r#"{"seq":1,"value":1e99}"#] {
        let () = redis.command(&["PUBLISH", "{counter}:updates:0", invalid]).await;
    }
    server.logged("cannot parse the update").await;
    client.click("plus");
    client.wait_for_value(1).await;
    assert!(client.received().errors.is_empty());
}

#[tokio::test]
async fn a_fast_clicker_leaves_time_slices_to_others() {
    let redis = RedisServer::start().await;
    let nodes = three(&redis).await;
    let hasty = Client::join(&nodes[0].url()).await;
    let mut patient = Client::join(&nodes[0].url()).await;
    (0..20_000).for_each(|_| hasty.click("plus"));
    for _ in 0..20 {
        let before = patient.received().values.len();
        patient.click("minus");
        // Only its own click makes the value lower.
        patient
            .wait_until("its click", |received| {
                received.values[before - 1..].windows(2).any(|w| w[1] < w[0])
            })
            .await;
    }
    patient.wait_for_value(20_000 - 20).await;
}

async fn three(redis: &RedisServer) -> Vec<Program> {
    vec![node(redis, &[]).await, node(redis, &[]).await, node(redis, &[]).await]
}
