// How this crate's server is started, with a Redis of its own.

#[path = "../redis/redis_server.rs"]
#[allow(dead_code, reason = "only the tests of many servers use all of it")]
mod redis_server;

pub const EXE: &str = env!("CARGO_BIN_EXE_counter-cluster");

/// Whether the Python version of this server has a page that is opened as a file.
pub const LETS_IN_FILES: bool = false;

/// A running server, and its Redis, which is killed with it.
pub struct Server {
    program: testing::Program,
    _redis: redis_server::RedisServer,
}

/// Starts `EXE` with `args`, by way of the command `by` if that is not empty.
pub async fn start_by(by: &[&str], args: &[&str]) -> Server {
    let redis = redis_server::RedisServer::start().await;
    let url = redis.url();
    let words = [by, &[EXE], args, &["--redis", &url]].concat();
    let program = testing::Program::start(words[0], &words[1..]).await;
    Server { program, _redis: redis }
}

impl std::ops::Deref for Server {
    type Target = testing::Program;

    fn deref(&self) -> &Self::Target {
        &self.program
    }
}

impl std::ops::DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.program
    }
}
