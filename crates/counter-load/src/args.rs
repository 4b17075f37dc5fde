//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, value_parser};

/// Loads a server of the counter protocol, checks what it says, and reports how fast it is.
#[derive(Parser)]
pub struct Args {
    /// The counter server; of several that share a counter, each gets its part of the clients
    #[arg(value_name = "URL", default_value = "ws://localhost:6789")]
    pub urls: Vec<String>,

    /// How many clients connect
    #[arg(long, value_name = "N", default_value = "1000", value_parser = value_parser!(u32).range(1..))]
    pub clients: u32,

    /// How many of them click
    #[arg(long, value_name = "N", default_value = "8", value_parser = value_parser!(u32).range(1..))]
    pub senders: u32,

    /// How many clicks are under way at once, all senders together; one is under way until its
    /// sender has its own copy of the new value
    #[arg(long, value_name = "N", default_value = "64", value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub in_flight: u32,

    /// A click is under way until every client has the new value
    #[arg(long)]
    pub barrier: bool,

    /// Clicks a second by the clock, however the server keeps up, instead of --in-flight
    #[arg(long, value_name = "R", value_parser = rate, conflicts_with_all = ["in_flight", "barrier"])]
    pub rate: Option<f64>,

    /// How long to click, or to wait with --idle; 10 unless --updates is given
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub seconds: Option<Duration>,

    /// How many clicks in all
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub updates: Option<u64>,

    /// Connect and wait; nobody clicks
    #[arg(long, conflicts_with_all = ["senders", "in_flight", "barrier", "rate", "updates", "chart"])]
    pub idle: bool,

    /// The server's process, to report its CPU time and memory (Linux only)
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,

    /// Write the report as JSON, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Draw the latencies and the deliveries over time as an SVG
    #[arg(long, value_name = "FILE.svg")]
    pub chart: Option<PathBuf>,
}

impl Args {
    /// How long to click or to wait; `None` if only `--updates` says when to stop.
    pub fn duration(&self) -> Option<Duration> {
        self.seconds.or(self.updates.is_none().then_some(Duration::from_secs(10)))
    }

    /// No more senders than there are clients, nor than there are clicks for them.
    pub fn senders(&self) -> u32 {
        let busy =
            if self.rate.is_some() { self.senders } else { self.senders.min(self.in_flight) };
        busy.min(self.clients)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds
        .filter(|s| !s.is_zero() && s.as_secs() <= 1_000_000)
        .ok_or("give a number of seconds above 0, like 10 or 0.5".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e7).contains(rate));
    rate.ok_or("give a number of clicks a second, like 5000".into())
}
