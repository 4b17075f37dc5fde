//! What can be said on the command line.

use std::time::Duration;

use clap::Parser;
use common::server::flags::{self, positive};

/// Those of every server, and where the counter is.
#[derive(Parser)]
pub struct ClusterFlags {
    #[command(flatten)]
    pub server: common::Flags,

    /// The Redis that holds the counter, also from REDIS_URL; rediss:// encrypts
    #[arg(long, value_name = "URL", env = "REDIS_URL", hide_env = true)]
    redis: Option<String>,

    /// What the names of the keys in Redis begin with; servers with the same share a counter
    #[arg(long, value_name = "NAME", default_value = "counter", value_parser = prefix)]
    pub redis_prefix: String,

    /// Seconds between signs of life to Redis; who gives none for 1.5 times as long is gone
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = heartbeat, allow_negative_numbers = true)]
    pub redis_heartbeat: Duration,
}

/// Shorter ones would keep Redis busy with nothing else.
const SHORTEST: Duration = Duration::from_millis(100);

impl ClusterFlags {
    /// Reads the command line.
    pub fn parse_or(default_address: &'static str) -> Self {
        flags::parse_or(default_address)
    }

    /// Where Redis is.
    ///
    /// # Errors
    ///
    /// A sentence when nobody has said.
    pub fn redis(&self) -> common::Result<&str> {
        let url = self.redis.as_deref().filter(|url| !url.is_empty());
        url.ok_or_else(|| {
            "say where Redis is, for example with --redis redis://127.0.0.1/ or by REDIS_URL; \
             for one server without Redis there is counter-server"
                .into()
        })
    }
}

/// Braces mark the part of a key by which a Redis cluster chooses where to keep it.
fn prefix(name: &str) -> Result<String, String> {
    match name.is_empty() || name.contains(['{', '}']) {
        true => Err("give a name without braces, for example counter".to_owned()),
        false => Ok(name.to_owned()),
    }
}

fn heartbeat(text: &str) -> Result<Duration, String> {
    positive(text).and_then(|heartbeat| match heartbeat < SHORTEST {
        true => Err("give 0.1 seconds or more".to_owned()),
        false => Ok(heartbeat),
    })
}
