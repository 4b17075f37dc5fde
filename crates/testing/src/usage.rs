//! The file descriptors and the CPU time of a process. This module exists only on Linux.

use std::fs;
use std::time::Duration;

/// Returns the number of its open descriptors.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Returns its CPU time so far, in user and kernel mode.
pub fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name may have spaces. After it come the state and 10 other numbers, then the two times in
    // hundredths of a second.
    let (_, numbers) = stat.rsplit_once(')').unwrap();
    let numbers: Vec<_> = numbers.split_whitespace().collect();
    let ticks: u64 = numbers[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}
