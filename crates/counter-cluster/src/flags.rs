//! The command line flags.

use std::time::Duration;

use clap::Parser;
use websockets::{Flags, Result, flags};

/// The flags of every server, and those for the shared counter in Redis.
#[derive(Parser)]
pub struct ClusterFlags {
    #[command(flatten)]
    pub server: Flags,

    /// The Redis that holds the counter, also from REDIS_URL; rediss:// encrypts
    #[arg(long, value_name = "URL", env = "REDIS_URL", hide_env = true)]
    redis: Option<String>,

    /// Prefix of the key names in Redis; servers with the same prefix share a counter
    #[arg(long, value_name = "NAME", default_value = "counter", value_parser = parse_prefix)]
    pub redis_prefix: String,

    /// Seconds between heartbeats; a server that misses them for 1.5 times as long is removed
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_heartbeat, allow_negative_numbers = true)]
    pub redis_heartbeat: Duration,
}

/// The shortest heartbeat. Shorter ones would keep Redis busy with nothing else.
const MIN_HEARTBEAT: Duration = Duration::from_millis(100);

impl ClusterFlags {
    /// The URL of the Redis.
    ///
    /// # Errors
    ///
    /// An error message if neither the flag nor the environment gives a URL.
    pub fn redis(&self) -> Result<&str> {
        let url = self.redis.as_deref().filter(|url| !url.is_empty());
        url.ok_or_else(|| {
            "no Redis URL; pass --redis redis://127.0.0.1/ or set REDIS_URL; \
             for a single server use counter-server"
                .into()
        })
    }
}

/// Rejects braces, because the prefix is put in braces.
fn parse_prefix(name: &str) -> std::result::Result<String, String> {
    match name.is_empty() || name.contains(['{', '}']) {
        true => Err("use a name without braces, for example counter".to_owned()),
        false => Ok(name.to_owned()),
    }
}

fn parse_heartbeat(text: &str) -> std::result::Result<Duration, String> {
    match flags::positive(text)? {
        heartbeat if heartbeat < MIN_HEARTBEAT => Err("use 0.1 seconds or more".to_owned()),
        heartbeat => Ok(heartbeat),
    }
}
