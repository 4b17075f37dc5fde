//! The flags that say whether several servers share the counter.

use std::time::Duration;

use clap::Args;
use common::server::flags::positive;

/// Where the counter is kept.
#[derive(Args)]
pub struct Sharing {
    /// Share the counter with all servers on this Redis, also from REDIS_URL; needs a build with
    /// --features redis [default: keep it in memory, for this server alone]
    #[arg(long, value_name = "URL", env = "REDIS_URL", hide_env = true)]
    pub redis: Option<String>,

    /// What the names of the keys in Redis begin with; servers with the same share a counter
    #[arg(long, value_name = "NAME", default_value = "counter")]
    pub redis_prefix: String,

    /// Seconds between signs of life to Redis; who gives none for 1.5 times as long is gone
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = heartbeat, allow_negative_numbers = true)]
    pub redis_heartbeat: Duration,
}

/// Shorter ones would keep Redis busy with nothing else.
const SHORTEST: Duration = Duration::from_millis(100);

fn heartbeat(text: &str) -> Result<Duration, String> {
    positive(text).and_then(|heartbeat| match heartbeat < SHORTEST {
        true => Err("give 0.1 seconds or more".to_owned()),
        false => Ok(heartbeat),
    })
}
