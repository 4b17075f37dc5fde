//! Raises the limit of open files. Each connection counts as one, and the usual limit is 1,024.

use common::Result;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as this number of clients needs it.
pub fn raise(clients: u32) -> Result<()> {
    // Allow for the standard streams, the poll, the files of the report and the files in /proc.
    let needed = u64::from(clients) + 32;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    // Ask only for the needed number and not for the hard limit, because macOS calls the hard limit
    // infinite, but refuses large numbers.
    let raised = Rlimit { current: Some(needed), maximum: now.maximum };
    let allowed = now.maximum.or(now.current).unwrap_or_default();
    setrlimit(Resource::Nofile, raised).map_err(|_| {
        format!(
            "{clients} clients need {needed} file descriptors, and this system allows {allowed}; \
             raise the hard limit (ulimit -Hn) or use fewer --clients"
        )
    })?;
    Ok(())
}
