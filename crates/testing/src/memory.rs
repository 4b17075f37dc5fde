//! The memory of a process. This module exists only on Linux.

use std::fs;

/// Returns the memory that a process has of its own now, in KiB, without the pages of its file.
pub fn resident_kib(pid: u32) -> u64 {
    field(pid, "RssAnon:")
}

/// Returns the largest resident memory since the start or the last [`forget_peak`], in KiB.
pub fn peak_kib(pid: u32) -> u64 {
    field(pid, "VmHWM:")
}

/// Starts [`peak_kib`] again, and returns its new value.
pub fn forget_peak(pid: u32) -> u64 {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    peak_kib(pid)
}

fn field(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
