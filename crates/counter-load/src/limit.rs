//! Raises the limit of open files. Each connection counts as one, and the usual limit is 1,024.

use common::Result;

/// Raises the limit as far as this number of clients needs it.
#[cfg(unix)]
pub fn raise(clients: u32) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    // Allow for the standard streams, the poll, the files of the report and the files in /proc.
    let needed = u64::from(clients) + 32;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    // Ask only for the needed number and not for the hard limit, because macOS calls the hard limit
    // infinite, but refuses large numbers.
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
