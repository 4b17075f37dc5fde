//! Every connection is a file descriptor, and a shell's usual limit is 1,024 of them.

use common::Result;

/// Raises the limit as far as `clients` need it.
#[cfg(unix)]
pub fn raise(clients: u32) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    // The standard streams, the poll, the files of the report and of /proc.
    let needed = u64::from(clients) + 32;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    // As many as are needed rather than all that are allowed: macOS refuses more than a process
    // may have, although it calls the hard limit infinite.
    let raised = Rlimit { current: Some(needed), maximum: now.maximum };
    if now.maximum.is_none_or(|most| needed <= most) && setrlimit(Resource::Nofile, raised).is_ok()
    {
        return Ok(());
    }
    let allowed = now.maximum.or(now.current).unwrap_or_default();
    Err(format!(
        "{clients} clients need {needed} file descriptors, and this system allows {allowed}; \
         raise the hard limit (ulimit -Hn) or use fewer --clients"
    )
    .into())
}

/// Windows has no such limit.
#[cfg(not(unix))]
pub fn raise(_clients: u32) -> Result<()> {
    Ok(())
}
