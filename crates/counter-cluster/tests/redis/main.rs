//! Tests of many servers on one Redis: real servers, and a real `redis-server`, which is
//! started for each test. `REDIS_SERVER` names another program, for example a Valkey.

// The tests stop and end programs with signals, and redis-server exists only on Unix.
#![cfg(unix)]

/// Clients that store all events that they receive.
mod client;
/// Redis comes back without its data, or with older data.
mod losses;
/// Errors at the start, and rediss://.
mod opening;
/// Redis is stopped, slow, cut off or killed.
mod outages;
/// Behind nginx and Caddy, with the configurations that we give to users.
mod proxies;
/// An nginx or Caddy that the test starts.
mod proxy;
/// A Redis that the test starts, stops and kills.
mod redis_server;
/// Redis refuses commands because of missing rights, a lack of memory, or its role as a replica.
mod refusals;
/// Several servers, one counter.
mod sharing;
/// Which users are counted, and for how long.
mod users;

use testing::Program;

use crate::redis_server::RedisServer;

const EXE: &str = env!("CARGO_BIN_EXE_counter-cluster");

/// Starts a server that shares the counter in `redis` with others.
async fn node(redis: &RedisServer, flags: &[&str]) -> Program {
    let url = redis.url();
    let args = [&["127.0.0.1:0", "--redis", url.as_str()], flags].concat();
    Program::start(EXE, &args).await
}
