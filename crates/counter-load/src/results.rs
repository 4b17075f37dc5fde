//! What was measured. The fields' names are the JSON's.

use common::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::args::Args;
use crate::checks::Checks;
use crate::crowd::Crowd;
use crate::ledger::{Ledger, SLICE};
use crate::process::{Process, Used, Watch};

/// How many points the timeline has at most.
const POINTS: usize = 100;

/// Everything.
#[derive(Serialize)]
pub struct Results {
    pub url: String,
    pub clients: usize,
    pub senders: Option<u32>,
    pub in_flight: Option<u32>,
    pub barrier: bool,
    pub rate: Option<f64>,
    /// By Ctrl-C.
    pub interrupted: bool,
    /// What went wrong, if anything did.
    pub problem: Option<String>,
    pub connect: Connect,
    /// Not with `--idle`, as the next one.
    pub run: Option<Run>,
    pub checks: Option<Checks>,
    /// Only with `--pid`.
    pub server: Option<Used>,
    pub memory: Option<Memory>,
    pub load: Option<Used>,
}

#[derive(Serialize)]
pub struct Connect {
    /// Until all had users and state.
    pub seconds: f64,
    pub per_second: f64,
    /// Until all had heard of all.
    pub told_seconds: Option<f64>,
}

#[derive(Serialize)]
pub struct Run {
    /// From the first click to the last delivery.
    pub seconds: f64,
    pub updates: u64,
    pub updates_per_second: f64,
    pub deliveries: u64,
    pub deliveries_per_second: f64,
    pub latency_us: Latency,
    pub fairness: Fairness,
    pub timeline: Timeline,
    /// Of all deliveries.
    #[serde(skip)]
    pub histogram: Histogram<u64>,
}

#[derive(Serialize)]
pub struct Latency {
    pub own_copy: Percentiles,
    pub any_client: Percentiles,
    pub last_client: Percentiles,
}

#[derive(Serialize)]
pub struct Percentiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub max: u64,
}

#[derive(Serialize)]
pub struct Fairness {
    pub slowest_client_p99_us: u64,
    pub median_client_p99_us: u64,
    pub ratio: f64,
}

#[derive(Serialize)]
pub struct Timeline {
    pub slice_seconds: f64,
    pub deliveries_per_second: Vec<f64>,
}

#[derive(Serialize)]
pub struct Memory {
    pub before_kib: f64,
    pub connected_kib: f64,
    pub kib_per_connection: f64,
    pub after_kib: Option<f64>,
}

impl Results {
    /// What is known as soon as the clients are connected.
    pub fn new(args: &Args, crowd: &Crowd, server: Option<&Process>) -> Self {
        let closed_loop = !args.idle && args.rate.is_none();
        let seconds = crowd.connected.as_secs_f64();
        let memory = server.and_then(|server| {
            let connected_kib = server.memory().ok()?;
            let before_kib = server.memory_before;
            let kib_per_connection = (connected_kib - before_kib) / crowd.open.max(1) as f64;
            Some(Memory { before_kib, connected_kib, kib_per_connection, after_kib: None })
        });
        Self {
            url: args.urls.join(" "),
            clients: crowd.open,
            senders: (!args.idle).then(|| args.senders()),
            in_flight: closed_loop.then_some(args.in_flight),
            barrier: args.barrier,
            rate: args.rate,
            interrupted: false,
            problem: None,
            connect: Connect {
                seconds,
                per_second: crowd.open as f64 / seconds,
                told_seconds: crowd.told.map(|told| told.as_secs_f64()),
            },
            run: None,
            checks: None,
            server: None,
            memory,
            load: None,
        }
    }

    /// Adds what was used since `watch` began.
    pub fn used(&mut self, watch: &Watch<'_>, deliveries: u64) {
        (self.server, self.load) = watch.used(deliveries);
        if let (Some(memory), Some(server)) = (&mut self.memory, watch.server) {
            memory.after_kib = server.memory().ok();
        }
    }

    /// The results as JSON.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl Run {
    /// The figures of a run; `None` if nothing was delivered.
    pub fn of(ledger: &Ledger) -> Result<Option<Self>> {
        let seconds = (ledger.ended - ledger.began) as f64 / 1e6;
        if ledger.deliveries == 0 || seconds == 0.0 {
            return Ok(None);
        }
        // Counts of 64 bits: all clients' deliveries of an hour are more than 32 bits hold.
        let mut histogram = Histogram::<u64>::new_with_max(ledger.own.high(), 2)?;
        let mut p99s = Vec::new();
        for account in &ledger.accounts {
            p99s.push(account.latencies.value_at_quantile(0.99));
            for step in account.latencies.iter_recorded() {
                histogram
                    .saturating_record_n(step.value_iterated_to(), step.count_at_value().into());
            }
        }
        p99s.sort_unstable();
        let slowest = p99s.last().copied().unwrap_or_default();
        let median = p99s.get(p99s.len() / 2).copied().unwrap_or_default();
        let updates = ledger.accounts.iter().map(|account| account.seen).max().unwrap_or_default();
        Ok(Some(Self {
            seconds,
            updates,
            updates_per_second: updates as f64 / seconds,
            deliveries: ledger.deliveries,
            deliveries_per_second: ledger.deliveries as f64 / seconds,
            latency_us: Latency {
                own_copy: Percentiles::of(&ledger.own),
                any_client: Percentiles::of(&histogram),
                last_client: Percentiles::of(&ledger.last),
            },
            fairness: Fairness {
                slowest_client_p99_us: slowest,
                median_client_p99_us: median,
                ratio: slowest as f64 / median.max(1) as f64,
            },
            timeline: Timeline::of(&ledger.timeline),
            histogram,
        }))
    }
}

impl Percentiles {
    fn of<T: hdrhistogram::Counter>(latencies: &Histogram<T>) -> Self {
        Self {
            p50: latencies.value_at_quantile(0.5),
            p90: latencies.value_at_quantile(0.9),
            p99: latencies.value_at_quantile(0.99),
            p99_9: latencies.value_at_quantile(0.999),
            max: latencies.max(),
        }
    }
}

impl Timeline {
    fn of(slices: &[u64]) -> Self {
        let width = slices.len().div_ceil(POINTS).max(1);
        let slice_seconds = (width as u64 * SLICE) as f64 / 1e6;
        // What is left over at the end is no whole slice and would look like a drop.
        let sums = slices.chunks_exact(width).map(|chunk| chunk.iter().sum::<u64>());
        let deliveries_per_second = sums.map(|sum| sum as f64 / slice_seconds).collect();
        Self { slice_seconds, deliveries_per_second }
    }
}
