//! How much memory a process uses. Linux tells; elsewhere nothing here exists.

use std::fs;

/// The memory that a process has of its own at present, in KiB, the pages of its file left out.
pub fn resident_kib(pid: u32) -> u64 {
    field(pid, "RssAnon:")
}

/// The most that was resident since the start or the last [`forget_peak`], in KiB.
pub fn peak_kib(pid: u32) -> u64 {
    field(pid, "VmHWM:")
}

/// Lets [`peak_kib`] begin anew, and returns what it begins with.
pub fn forget_peak(pid: u32) -> u64 {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    peak_kib(pid)
}

fn field(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
