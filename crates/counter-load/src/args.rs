//! The command line flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, value_parser};

/// Loads a counter server, checks the values that it sends, and reports how fast it is.
#[derive(Parser)]
pub struct Args {
    /// URL of the counter server; may be repeated for servers that share a counter
    #[arg(value_name = "URL", default_value = "ws://localhost:6789")]
    pub urls: Vec<String>,

    /// Number of clients to connect
    #[arg(long, value_name = "N", default_value = "1000", value_parser = value_parser!(u32).range(1..))]
    pub clients: u32,

    /// Number of clients that click
    #[arg(long, value_name = "N", default_value = "8", value_parser = value_parser!(u32).range(1..))]
    pub senders: u32,

    /// Number of clicks in flight at once, all senders together; a click is in flight until its
    /// sender has received the new value
    #[arg(long, value_name = "N", default_value = "64", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub in_flight: u32,

    /// Keep a click in flight until every client has received the new value
    #[arg(long)]
    pub barrier: bool,

    /// Clicks per second by the clock, even if the server falls behind; replaces --in-flight
    #[arg(long, value_name = "R", value_parser = parse_rate, conflicts_with_all = ["in_flight", "barrier"])]
    pub rate: Option<f64>,

    /// Seconds to click, or to wait with --idle; 10 unless --updates is given
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub seconds: Option<Duration>,

    /// Total number of clicks
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub updates: Option<u64>,

    /// Connect and wait without any clicks
    #[arg(long, conflicts_with_all = ["senders", "in_flight", "barrier", "rate", "updates", "chart"])]
    pub idle: bool,

    /// Process id of the server, to report its CPU time and memory (Linux only)
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,

    /// Write the report as JSON, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write a chart of the latencies and of the deliveries over time as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub chart: Option<PathBuf>,
}

impl Args {
    /// The time to click or to wait. `MAX` if only `--updates` ends the run.
    pub fn duration(&self) -> Duration {
        let default = if self.updates.is_some() { Duration::MAX } else { Duration::from_secs(10) };
        self.seconds.unwrap_or(default)
    }

    /// The number of senders. It is limited by the number of clients and of clicks in flight.
    pub fn senders(&self) -> u32 {
        let useful =
            if self.rate.is_some() { self.senders } else { self.senders.min(self.in_flight) };
        useful.min(self.clients)
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds
        .filter(|s| !s.is_zero() && s.as_secs() <= 1_000_000)
        .ok_or("give a number of seconds above 0, like 10 or 0.5".into())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e7).contains(rate));
    rate.ok_or("give a number of clicks a second, like 5000".into())
}
