//! When to stop: SIGINT and SIGTERM, on Windows Ctrl-C.

use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::Result;

/// Waits for a signal, then cancels `stop`; a second signal ends the program at once.
pub(super) fn signals(stop: CancellationToken) -> Result<impl Future<Output = ()>> {
    // Registered now, not at the first poll: a signal right after the start must not kill.
    #[cfg(unix)]
    let mut next = {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        async move || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
    };
    #[cfg(windows)]
    let mut next = {
        let mut interrupt = tokio::signal::windows::ctrl_c()?;
        async move || {
            interrupt.recv().await;
        }
    };
    Ok(async move {
        next().await;
        info!("shutting down; a second signal ends at once");
        stop.cancel();
        next().await;
        std::process::exit(1);
    })
}
