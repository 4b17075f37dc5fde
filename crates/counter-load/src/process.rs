//! CPU time and memory: the server's, as Linux tells it, and our own.

use std::time::Instant;

use common::Result;
use serde::Serialize;

/// A process to watch.
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its resident memory when we first looked, in KiB.
    pub memory_before: f64,
}

/// CPU time in seconds.
#[derive(Clone, Copy, Default)]
pub struct Cpu {
    /// In the program's own code.
    pub user: f64,
    /// In the kernel, for the program.
    pub system: f64,
}

/// CPU time that a process used while the run lasted. The fields' names are the JSON's.
#[derive(Serialize)]
pub struct Used {
    /// Of one core.
    pub cpu_share: f64,
    pub cpu_us_per_delivery: Option<f64>,
    pub user_us_per_delivery: Option<f64>,
    pub system_us_per_delivery: Option<f64>,
}

impl Process {
    /// Looks at a process for the first time.
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
        kib.ok_or_else(|| self.gone())
    }

    /// The CPU time of all its threads so far, those that have ended included.
    pub fn cpu(&self) -> Result<Cpu> {
        let stat = self.read("stat")?;
        // The second field is the program's name in brackets, which may have blanks in it.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let mut times = fields.split_whitespace().skip(11).map(str::parse::<f64>);
        match (times.next(), times.next()) {
            (Some(Ok(user)), Some(Ok(system))) => {
                Ok(Cpu { user: user / ticks(), system: system / ticks() })
            }
            _ => Err(self.gone()),
        }
    }

    fn read(&self, file: &str) -> Result<String> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid)).map_err(|_| self.gone())
    }

    fn gone(&self) -> common::Error {
        let pid = self.pid;
        format!("there is no process {pid} to watch; --pid needs Linux and the server's process id")
            .into()
    }
}

/// How many units of `/proc`'s times are a second.
fn ticks() -> f64 {
    #[cfg(unix)]
    {
        rustix::param::clock_ticks_per_second() as f64
    }
    #[cfg(not(unix))]
    100.0
}

/// Our own CPU time so far, in seconds, where the system tells it exactly.
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

/// A look at the clocks, to tell later what was used since.
pub struct Watch<'a> {
    /// The server, if we know it.
    pub server: Option<&'a Process>,
    server_cpu: Option<Cpu>,
    own_cpu: Option<f64>,
    began: Instant,
}

impl<'a> Watch<'a> {
    /// Looks now.
    pub fn start(server: Option<&'a Process>) -> Self {
        let server_cpu = server.and_then(|server| server.cpu().ok());
        Self { server, server_cpu, own_cpu: own_cpu(), began: Instant::now() }
    }

    /// What the server and we used since; nothing of a server that has ended.
    pub fn used(&self, deliveries: u64) -> (Option<Used>, Option<Used>) {
        let seconds = self.began.elapsed().as_secs_f64();
        let each = |cpu: f64| (deliveries > 0).then(|| cpu * 1e6 / deliveries as f64);
        let used = |cpu: f64| Used {
            cpu_share: cpu / seconds,
            cpu_us_per_delivery: each(cpu),
            user_us_per_delivery: None,
            system_us_per_delivery: None,
        };
        let server = self.server.and_then(|server| {
            let (then, now) = (self.server_cpu?, server.cpu().ok()?);
            let (user, system) = (now.user - then.user, now.system - then.system);
            Some(Used {
                user_us_per_delivery: each(user),
                system_us_per_delivery: each(system),
                ..used(user + system)
            })
        });
        (server, self.own_cpu.zip(own_cpu()).map(|(then, now)| used(now - then)))
    }
}
