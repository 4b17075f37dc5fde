//! The results of a measurement. The report in JSON has the same field names.

use common::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::args::Args;
use crate::checks::Checks;
use crate::pool::{ClientPool, Connect};
use crate::process::{CpuMeter, CpuUsage, Process};
use crate::recorder::{Recorder, SLICE};

/// The largest number of points in the timeline.
const MAX_POINTS: usize = 100;

/// All results.
#[derive(Default, Serialize)]
pub struct Results {
    pub url: String,
    pub clients: usize,
    pub senders: Option<u32>,
    pub in_flight: Option<u32>,
    pub barrier: bool,
    pub rate: Option<f64>,
    /// Ctrl-C or SIGTERM ended the run.
    pub interrupted: bool,
    /// The error message, if the run or a check failed.
    pub problem: Option<String>,
    pub connect: Connect,
    /// The measured run. `None` with `--idle`.
    pub run: Option<Run>,
    /// The checks. `None` with `--idle`.
    pub checks: Option<Checks>,
    /// The CPU usage of the server. Only with `--pid`.
    pub server: Option<CpuUsage>,
    /// The memory of the server. Only with `--pid`.
    pub memory: Option<Memory>,
    /// The CPU usage of this load client.
    pub load: Option<CpuUsage>,
}

#[derive(Serialize)]
pub struct Run {
    /// The time from the first click to the last delivery.
    pub seconds: f64,
    pub updates: u64,
    pub updates_per_second: f64,
    pub deliveries: u64,
    pub deliveries_per_second: f64,
    pub latency_us: Latency,
    pub fairness: Fairness,
    pub timeline: Timeline,
    /// The latencies of all deliveries.
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
    /// The results that are known as soon as the clients are connected.
    pub fn new(args: &Args, pool: &ClientPool, connect: Connect, server: Option<&Process>) -> Self {
        let closed_loop = !args.idle && args.rate.is_none();
        let clients = pool.open();
        let memory = server.and_then(|server| {
            let (before_kib, connected_kib) = (server.memory_before, server.memory()?);
            let kib_per_connection = (connected_kib - before_kib) / clients.max(1) as f64;
            Some(Memory { before_kib, connected_kib, kib_per_connection, after_kib: None })
        });
        Self {
            url: args.urls.join(" "),
            clients,
            senders: (!args.idle).then(|| args.senders()),
            in_flight: closed_loop.then_some(args.in_flight),
            barrier: args.barrier,
            rate: args.rate,
            connect,
            memory,
            ..Self::default()
        }
    }

    /// Adds the CPU usage since `cpu` was started, and the memory of the server after the run.
    pub fn add_usage(&mut self, cpu: &CpuMeter<'_>, deliveries: u64) {
        (self.server, self.load) = cpu.usage(deliveries);
        if let (Some(memory), Some(server)) = (&mut self.memory, cpu.server) {
            memory.after_kib = server.memory();
        }
    }
}

impl Run {
    /// The numbers of a run. `None` if no value was delivered.
    pub fn of(recorder: &Recorder) -> Result<Option<Self>> {
        let seconds = recorder.ended.as_secs_f64();
        if recorder.deliveries == 0 || seconds == 0.0 {
            return Ok(None);
        }
        // Counts have 64 bits, because an hour may have more deliveries than 32 bits can count.
        let mut histogram = Histogram::<u64>::new_with_max(recorder.own_copy.high(), 2)?;
        let mut p99s = Vec::new();
        for record in &recorder.records {
            p99s.push(record.latencies.value_at_quantile(0.99));
            for bar in record.latencies.iter_recorded() {
                histogram.saturating_record_n(bar.value_iterated_to(), bar.count_at_value().into());
            }
        }
        p99s.sort_unstable();
        let slowest = p99s.last().copied().unwrap_or_default();
        let median = p99s.get(p99s.len() / 2).copied().unwrap_or_default();
        let newest_clicks = recorder.records.iter().map(|record| record.newest_click);
        let updates = newest_clicks.max().unwrap_or_default();
        Ok(Some(Self {
            seconds,
            updates,
            updates_per_second: updates as f64 / seconds,
            deliveries: recorder.deliveries,
            deliveries_per_second: recorder.deliveries as f64 / seconds,
            latency_us: Latency {
                own_copy: Percentiles::of(&recorder.own_copy),
                any_client: Percentiles::of(&histogram),
                last_client: Percentiles::of(&recorder.last_client),
            },
            fairness: Fairness {
                slowest_client_p99_us: slowest,
                median_client_p99_us: median,
                ratio: slowest as f64 / median.max(1) as f64,
            },
            timeline: Timeline::of(&recorder.timeline),
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
        let width = slices.len().div_ceil(MAX_POINTS).max(1);
        let slice_seconds = width as f64 * SLICE.as_secs_f64();
        // Leave out an incomplete slice at the end, because it would look like a drop.
        let sums = slices.chunks_exact(width).map(|chunk| chunk.iter().sum::<u64>());
        let deliveries_per_second = sums.map(|sum| sum as f64 / slice_seconds).collect();
        Self { slice_seconds, deliveries_per_second }
    }
}
