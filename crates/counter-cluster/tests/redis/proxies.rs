use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use testing::{Peer, Program, limit, soon};
use tokio::net::TcpStream;
use tokio_native_tls::TlsStream;
use tokio_native_tls::native_tls::{Certificate, TlsConnector};
use tokio_tungstenite::{WebSocketStream, client_async, connect_async};
use tungstenite::{Error, Message};

use crate::client::Client;
use crate::node;
use crate::proxy::Proxy;
use crate::redis_server::RedisServer;

/// The time limit for the proxy to find a server with a free connection slot, and to stop using a
/// server that was killed.
const RECOVERY_LIMIT: Duration = Duration::from_secs(5);

async fn two(redis: &RedisServer, flags: &[&str]) -> [Program; 2] {
    [node(redis, flags).await, node(redis, flags).await]
}

#[tokio::test]
async fn nginx_spreads_users_and_skips_a_stopped_server() {
    let redis = RedisServer::start().await;
    let mut servers = two(&redis, &[]).await;
    let nginx = Proxy::nginx(&servers).await;
    let url = format!("ws://127.0.0.1:{}", nginx.port);
    let (mut one, mut two) = (Client::join(&url).await, Client::join(&url).await);
    for client in [&mut one, &mut two] {
        client.wait_for_users(2).await;
    }
    let nodes: Vec<String> = redis.command(&["HVALS", "{counter}:nodes"]).await;
    assert!(nodes.iter().all(|node| node.starts_with("1 ")), "{nodes:?}");
    one.click("plus");
    two.wait_for_value(1).await;
    servers[0].kill().await;
    for users in 2..=5 {
        let mut more = Client::join(&url).await;
        more.wait_for_value(1).await;
        more.wait_until("all", |received| received.users >= users).await;
        std::mem::forget(more);
    }
}

#[tokio::test]
async fn nginx_finds_a_freed_slot_at_once() {
    let redis = RedisServer::start().await;
    let servers = two(&redis, &["--max-connections", "1"]).await;
    let nginx = Proxy::nginx(&servers).await;
    let url = format!("ws://127.0.0.1:{}", nginx.port);
    // The slot of the last connection may be free a moment later.
    let connect_when_free = async || loop {
        if let Ok((socket, _)) = connect_async(&url).await {
            break Peer(socket);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for _ in 0..3 {
        let both = async { [connect_when_free().await, connect_when_free().await] };
        let peers = soon("two places", both).await;
        for _ in 0..5 {
            let refused = soon("an answer", connect_async(&url)).await.map(drop);
            assert!(is_503(&refused), "{refused:?}");
        }
        for peer in peers {
            peer.close().await;
        }
        let free = Instant::now();
        drop(soon("a place", connect_when_free()).await);
        println!("connected after {:?}", free.elapsed());
        assert!(free.elapsed() < limit(RECOVERY_LIMIT), "connected after {:?}", free.elapsed());
    }
}

#[tokio::test]
async fn caddy_with_tls_routes_users_to_ready_servers() {
    let redis = RedisServer::start().await;
    let mut servers = two(&redis, &["--max-connections", "2"]).await;
    let (caddy, cert) = Proxy::caddy(&servers).await;
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(connect_when_ready(&caddy, &cert).await);
    }
    let spread = async {
        let two_each = |nodes: Vec<String>| nodes.iter().all(|node| node.starts_with("2 "));
        while !two_each(redis.command(&["HVALS", "{counter}:nodes"]).await) {}
    };
    soon("two users at each server", spread).await;
    // All are full.
    let refused = wss(&caddy, &cert).await.map(drop);
    assert!(is_503(&refused), "{refused:?}");
    all.clear();
    let free = Instant::now();
    let user = connect_when_ready(&caddy, &cert).await;
    assert!(free.elapsed() < limit(RECOVERY_LIMIT), "connected after {:?}", free.elapsed());
    drop(user);
    // One is gone.
    servers[1].kill().await;
    for _ in 0..2 {
        all.push(connect_when_ready(&caddy, &cert).await);
    }
}

fn is_503(result: &Result<(), Error>) -> bool {
    matches!(result, Err(Error::Http(answer)) if answer.status() == 503)
}

type Wss = WebSocketStream<TlsStream<TcpStream>>;

async fn wss(caddy: &Proxy, cert: &Path) -> Result<Wss, Error> {
    let cert = Certificate::from_pem(&std::fs::read(cert).unwrap()).unwrap();
    let tls = TlsConnector::builder().add_root_certificate(cert).build().unwrap();
    let stream = TcpStream::connect(("127.0.0.1", caddy.port)).await.unwrap();
    let stream = tokio_native_tls::TlsConnector::from(tls).connect("localhost", stream).await;
    let url = format!("wss://localhost:{}/", caddy.port);
    let connect = client_async(url, stream.unwrap());
    Ok(soon("an answer of Caddy", connect).await?.0)
}

/// Tries until a server accepts the connection, and receives the first message.
async fn connect_when_ready(caddy: &Proxy, cert: &Path) -> Wss {
    let tries = async {
        loop {
            match wss(caddy, cert).await {
                Ok(user) => return user,
                refused => assert!(is_503(&refused.map(drop))),
            }
        }
    };
    let mut user = soon("a place", tries).await;
    let first = soon("the first message", user.next()).await.unwrap().unwrap();
    assert!(matches!(&first, Message::Text(text) if text.contains("users")), "{first:?}");
    user
}
