//! Measures the CPU time and memory of the server, if it runs on Linux, and our own CPU time.

use std::time::Instant;

use common::Result;
use serde::Serialize;

/// A process to measure.
pub struct Process {
    pid: u32,
    /// Its resident memory before the clients connected, in KiB.
    pub memory_before: f64,
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
        let process = Self { pid, memory_before: 0.0 };
        match (process.memory(), process.cpu()) {
            (Some(memory_before), Some(_)) => Ok(Self { pid, memory_before }),
            _ => {
                let hint = "--pid needs Linux and the server's process id";
                Err(format!("there is no process {pid} to measure; {hint}").into())
            }
        }
    }

    /// Its resident memory in KiB, which does not include the kernel's buffers of its sockets.
    pub fn memory(&self) -> Option<f64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// The CPU time of all its threads so far, including threads that have ended: in the program's
    /// own code, and in the kernel for the program, in seconds.
    fn cpu(&self) -> Option<(f64, f64)> {
        let stat = self.read("stat")?;
        // The second field is the program's name in brackets, which may have blanks in it.
        let mut ticks = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut seconds = || Some(ticks.next()?.parse::<f64>().ok()? / ticks_per_second());
        Some((seconds()?, seconds()?))
    }

    fn read(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid)).ok()
    }
}

/// The number of clock ticks per second in the times of `/proc`.
fn ticks_per_second() -> f64 {
    #[cfg(unix)]
    return rustix::param::clock_ticks_per_second() as f64;
    #[cfg(not(unix))]
    return 100.0;
}

/// Our own CPU time so far, in seconds, if the system provides it.
fn own_cpu() -> Option<f64> {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
    }
    #[cfg(not(unix))]
    None
}

/// Measures the CPU time that the server and we use from its start on.
pub struct CpuMeter<'a> {
    /// The process of the server, if `--pid` was given.
    pub server: Option<&'a Process>,
    server_cpu: Option<(f64, f64)>,
    own_cpu: Option<f64>,
    began: Instant,
}

impl<'a> CpuMeter<'a> {
    /// Starts to measure.
    pub fn start(server: Option<&'a Process>) -> Self {
        let server_cpu = server.and_then(Process::cpu);
        Self { server, server_cpu, own_cpu: own_cpu(), began: Instant::now() }
    }

    /// The CPU usage of the server and our own since the start. `None` for a server that has ended.
    pub fn usage(&self, deliveries: u64) -> (Option<CpuUsage>, Option<CpuUsage>) {
        let seconds = self.began.elapsed().as_secs_f64();
        let each = |cpu: f64| (deliveries > 0).then(|| cpu * 1e6 / deliveries as f64);
        let usage = |cpu: f64, user: Option<f64>| CpuUsage {
            cpu_share: cpu / seconds,
            cpu_us_per_delivery: each(cpu),
            user_us_per_delivery: user.and_then(each),
            system_us_per_delivery: user.and_then(|user| each(cpu - user)),
        };
        let server_cpu = self.server_cpu.zip(self.server.and_then(Process::cpu));
        let server = server_cpu.map(|((user_then, system_then), (user, system))| {
            usage(user - user_then + system - system_then, Some(user - user_then))
        });
        (server, self.own_cpu.zip(own_cpu()).map(|(then, now)| usage(now - then, None)))
    }
}
