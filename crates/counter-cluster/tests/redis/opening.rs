use std::net::TcpListener;

use testing::run;
use tokio::process::Command;

use crate::client::Client;
use crate::redis_server::RedisServer;
use crate::{EXE, node, proxy};

#[tokio::test]
async fn an_unusable_redis_exits_1_with_one_line() {
    let redis = RedisServer::start_with(&["--save", "", "--requirepass", "secret"]).await;
    let closed = testing::free_port();
    // This port accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    for (url, part) in [
        (format!("redis://127.0.0.1:{closed}/"), "connection refused; start it"),
        (format!("redis://127.0.0.1:{silent_port}/"), "no answer within"),
        (redis.url(), "NOAUTH"),
        (format!("redis://:wrong-secret@127.0.0.1:{}/", redis.port()), "password"),
        ("http://127.0.0.1/".into(), "redis://127.0.0.1:6379/"),
        ("redis://:wrong-secret@".into(), "redis://127.0.0.1:6379/"),
        (String::new(), "REDIS_URL"),
    ] {
        let output = run(EXE, &["127.0.0.1:0", "--redis", &url], "").await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{url}: {said}");
        assert_eq!(said.lines().count(), 1, "{url}: {said}");
        assert!(said.contains(part), "{url}: {said}");
        assert!(!said.contains("secret"), "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn a_too_short_heartbeat_is_rejected() {
    let args = ["127.0.0.1:0", "--redis", "redis://127.0.0.1:1/", "--redis-heartbeat", "0.0005"];
    let output = run(EXE, &args, "").await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("use 0.1 seconds or more"), "{said}");
}

#[tokio::test]
async fn an_invalid_prefix_is_a_one_line_error() {
    for prefix in ["", "{", "a}b", "{counter}"] {
        let args = ["127.0.0.1:0", "--redis", "redis://127.0.0.1:1/", "--redis-prefix", prefix];
        let output = run(EXE, &args, "").await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("use a name without braces"), "{prefix:?}: {said}");
    }
}

#[tokio::test]
async fn the_redis_flag_overrides_redis_url() {
    let (one, two) = (RedisServer::start().await, RedisServer::start().await);
    for (redis, value) in [(&one, "11"), (&two, "22")] {
        let () = redis.command(&["HSET", "{counter}:counter", "value", value]).await;
    }
    let mut command = Command::new(EXE);
    command.arg("127.0.0.1:0").env("REDIS_URL", one.url());
    let server = testing::Program::start_command(&mut command).await;
    Client::join(&server.url()).await.wait_for_value(11).await;
    command.args(["--redis", &two.url()]);
    let server = testing::Program::start_command(&mut command).await;
    Client::join(&server.url()).await.wait_for_value(22).await;
}

#[tokio::test]
async fn redis_over_tls_needs_a_trusted_certificate() {
    let folder = proxy::folder();
    let [key, cert] = proxy::certificate(&folder);
    let [key, cert] = [&key, &cert].map(|path| path.to_str().unwrap());
    let port = testing::free_port().to_string();
    let flags = ["--tls-port", &port, "--tls-cert-file", cert, "--tls-key-file", key];
    let redis = RedisServer::start_with(
        &[&flags[..], &["--tls-auth-clients", "no", "--save", ""]].concat(),
    )
    .await;
    let plain = node(&redis, &[]).await;
    let url = format!("rediss://localhost:{port}/");
    let mut command = Command::new(EXE);
    command.args(["127.0.0.1:0", "--redis", &url]).env("SSL_CERT_FILE", cert);
    let encrypted = testing::Program::start_command(&mut command).await;
    let one = Client::join(&encrypted.url()).await;
    one.click("plus");
    Client::join(&plain.url()).await.wait_for_value(1).await;

    let output = run(EXE, &["127.0.0.1:0", "--redis", &url], "").await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("certificate") && said.contains("SSL_CERT_FILE"), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}
