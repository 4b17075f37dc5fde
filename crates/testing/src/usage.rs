//! What a process uses beside memory. Linux tells; elsewhere nothing here exists.

use std::fs;
use std::time::Duration;

/// How many descriptors it has open.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The CPU time that it has used, in user and kernel mode.
pub fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the name, which may have spaces: state, and 10 numbers before the two wanted, in
    // hundredths of a second.
    let (_, numbers) = stat.rsplit_once(')').unwrap();
    let numbers: Vec<_> = numbers.split_whitespace().collect();
    let ticks: u64 = numbers[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}
