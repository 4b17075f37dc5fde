//! The signals that stop a program: SIGINT, SIGTERM and SIGHUP, which a closed terminal sends; on
//! Windows Ctrl-C, Ctrl-Break, and the end of the console or of the session.

use std::io;
use std::time::Duration;

use crate::Result;

/// Waits for the first signal that stops a server. A second signal ends the program at once.
///
/// [`Server::serve`](crate::Server::serve) uses it. Use it, too, for other tasks that must end with
/// the server, or for [`Server::serve_on`](crate::Server::serve_on): each call returns a future of
/// its own, and the same signal completes all of them. Must be called in a tokio runtime.
///
/// # Errors
///
/// The system cannot register a signal handler.
pub fn signals() -> Result<impl Future<Output = ()> + Send + 'static> {
    // Registered now, not at the first poll: a signal right after the start must not kill.
    Ok(next()?)
}

/// Ends the program with status 0 if it has not ended by itself `limit` after the first signal. A
/// handler or a disk may block the threads of the runtime, so this has a thread of its own.
///
/// # Errors
///
/// The system cannot register a signal handler.
#[cfg(unix)]
pub(super) fn exit_within(limit: Duration) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new(kinds())?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            std::thread::sleep(limit);
            std::process::exit(0);
        }
    });
    Ok(())
}

/// Windows itself ends a program whose console has ended.
#[cfg(windows)]
pub(super) fn exit_within(_limit: Duration) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn next() -> io::Result<impl Future<Output = ()>> {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use futures_util::future::select_all;
    use signal_hook::flag;
    use tokio::signal::unix::{SignalKind, signal};

    let stopping = Arc::new(AtomicBool::new(false));
    let mut signals = Vec::new();
    for kind in kinds() {
        // The second signal ends the program in the signal handler itself, even if all threads of
        // the runtime are blocked.
        flag::register_conditional_shutdown(kind, 1, Arc::clone(&stopping))?;
        flag::register(kind, Arc::clone(&stopping))?;
        signals.push(signal(SignalKind::from_raw(kind))?);
    }
    Ok(async move {
        select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
    })
}

/// The signals that stop a server.
#[cfg(unix)]
fn kinds() -> Vec<i32> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let mut kinds = vec![SIGINT, SIGTERM];
    if !is_hangup_ignored() {
        kinds.push(SIGHUP);
    }
    kinds
}

/// Whether SIGHUP is ignored, as `nohup` does. Then it stays ignored. Only Linux shows this.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Bit 0 is signal 1.
    ignored.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(windows)]
fn next() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown};

    let (mut c, mut r#break) = (ctrl_c()?, ctrl_break()?);
    // Windows ends the program 5 s after these three. By then, every client was sent 1001.
    let (mut close, mut logoff, mut shutdown) = (ctrl_close()?, ctrl_logoff()?, ctrl_shutdown()?);
    let mut any = async move || {
        tokio::select! {
            _ = c.recv() => {}
            _ = r#break.recv() => {}
            _ = close.recv() => {}
            _ = logoff.recv() => {}
            _ = shutdown.recv() => {}
        }
    };
    Ok(async move {
        any().await;
        tokio::spawn(async move {
            any().await;
            std::process::exit(1);
        });
    })
}
