//! Measures the CPU time and memory of the server, if it runs on Linux, and our own CPU time.

use std::time::Instant;

use common::Result;
use serde::Serialize;

/// A process to measure.
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its resident memory before the clients connected, in KiB.
    pub memory_before: f64,
}

/// CPU time in seconds.
#[derive(Clone, Copy, Default)]
pub struct CpuTime {
    /// In the program's own code.
    pub user: f64,
    /// In the kernel, for the program.
    pub system: f64,
}

/// The CPU time that a process used during the run. The report in JSON has the same field names.
#[derive(Serialize)]
pub struct CpuUsage {
    /// The share of one core.
    pub cpu_share: f64,
    pub cpu_us_per_delivery: Option<f64>,
    pub user_us_per_delivery: Option<f64>,
    pub system_us_per_delivery: Option<f64>,
}

impl Process {
    /// Finds a process and measures its memory.
    pub fn find(pid: u32) -> Result<Self> {
        let mut process = Self { pid, memory_before: 0.0 };
        process.memory_before = process.memory()?;
        process.cpu()?;
        Ok(process)
    }

    /// Its resident memory in KiB, which does not include the kernel's buffers of its sockets.
    pub fn memory(&self) -> Result<f64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.ok_or_else(|| self.not_found())
    }

    /// The CPU time of all its threads so far, including threads that have ended.
    pub fn cpu(&self) -> Result<CpuTime> {
        let stat = self.read("stat")?;
        // The second field is the program's name in brackets, which may have blanks in it.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let mut times = fields.split_whitespace().skip(11).map(str::parse::<f64>);
        match (times.next(), times.next()) {
            (Some(Ok(user)), Some(Ok(system))) => {
                Ok(CpuTime { user: user / ticks_per_second(), system: system / ticks_per_second() })
            }
            _ => Err(self.not_found()),
        }
    }

    fn read(&self, file: &str) -> Result<String> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid)).map_err(|_| self.not_found())
    }

    fn not_found(&self) -> common::Error {
        let pid = self.pid;
        format!(
            "there is no process {pid} to measure; --pid needs Linux and the server's process id"
        )
        .into()
    }
}

/// The number of clock ticks per second in the times of `/proc`.
fn ticks_per_second() -> f64 {
    #[cfg(unix)]
    {
        rustix::param::clock_ticks_per_second() as f64
    }
    #[cfg(not(unix))]
    100.0
}

/// Our own CPU time so far, in seconds, if the system provides it.
fn own_cpu() -> Option<f64> {
    #[cfg(unix)]
    {
        use rustix::time::{ClockId, clock_gettime};

        let time = clock_gettime(ClockId::ProcessCPUTime);
        Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
    }
    #[cfg(not(unix))]
    None
}

/// Measures the CPU time that the server and we use from its start on.
pub struct CpuMeter<'a> {
    /// The process of the server, if `--pid` was given.
    pub server: Option<&'a Process>,
    server_cpu: Option<CpuTime>,
    own_cpu: Option<f64>,
    began: Instant,
}

impl<'a> CpuMeter<'a> {
    /// Starts to measure.
    pub fn start(server: Option<&'a Process>) -> Self {
        let server_cpu = server.and_then(|server| server.cpu().ok());
        Self { server, server_cpu, own_cpu: own_cpu(), began: Instant::now() }
    }

    /// The CPU usage of the server and our own since the start. `None` for a server that has ended.
    pub fn usage(&self, deliveries: u64) -> (Option<CpuUsage>, Option<CpuUsage>) {
        let seconds = self.began.elapsed().as_secs_f64();
        let each = |cpu: f64| (deliveries > 0).then(|| cpu * 1e6 / deliveries as f64);
        let usage = |cpu: f64| CpuUsage {
            cpu_share: cpu / seconds,
            cpu_us_per_delivery: each(cpu),
            user_us_per_delivery: None,
            system_us_per_delivery: None,
        };
        let server = self.server.and_then(|server| {
            let (then, now) = (self.server_cpu?, server.cpu().ok()?);
            let (user, system) = (now.user - then.user, now.system - then.system);
            Some(CpuUsage {
                user_us_per_delivery: each(user),
                system_us_per_delivery: each(system),
                ..usage(user + system)
            })
        });
        (server, self.own_cpu.zip(own_cpu()).map(|(then, now)| usage(now - then)))
    }
}
