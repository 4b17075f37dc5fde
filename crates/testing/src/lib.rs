//! Helpers of all tests: [`Program`] starts a real binary and reads its output, [`Peer`] is a
//! well-behaved client, and [`Raw`] is a client that can break every rule.
//!
//! Every wait has a limit ([`soon`]), so a test that hangs fails. The limits are those of an idle
//! machine, and become longer on a busy one ([`limit`]).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::net::TcpListener;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{error::Elapsed, timeout};

#[cfg(unix)]
pub use rustix::process::Signal;

#[cfg(target_os = "linux")]
pub mod memory;
mod peer;
mod program;
pub mod property;
mod raw;
#[cfg(target_os = "linux")]
pub mod usage;

pub use peer::Peer;
#[cfg(unix)]
pub use program::kill;
pub use program::{Program, run};
pub use raw::{HANDSHAKE, Raw, frame, http};

/// The limit of any one step on an idle machine. It usually takes far less.
const STEP: Duration = Duration::from_secs(20);

/// Returns the time limit for this machine, if the limit is `idle` on an idle machine. It is `idle`
/// times the number of running programs for each core, which is known only on Linux.
pub fn limit(idle: Duration) -> Duration {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    // The mean load of the last minute, and the number of tasks that could run now.
    let mean = load.split(' ').next().and_then(|mean| mean.parse().ok()).unwrap_or(0.0);
    let now = load.split([' ', '/']).nth(3).and_then(|now| now.parse().ok()).unwrap_or(0.0);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    idle.mul_f64((f64::max(mean, now) / cores as f64).max(1.0))
}

/// Returns the path of a program that `cargo test` builds with the tests, for example `talk` or
/// `examples/echo`.
pub fn built(name: &str) -> String {
    // The tests are one folder below it.
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().with_file_name(name);
    let program = program.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.exists(), "build it: cargo build --workspace --all-features --bins --examples");
    program.to_str().unwrap().to_owned()
}

/// Returns the environment in which cargo builds a project outside the workspace. All of them share
/// one build folder. It is not that of the workspace, because cargo locks a build folder, and other
/// steps of the tests compile the workspace meanwhile. `temporary` is `CARGO_TARGET_TMPDIR`.
pub fn outside_build(temporary: &str) -> [(&'static str, String); 3] {
    [
        ("CARGO_BUILD_BUILD_DIR", Path::new(temporary).join("build").display().to_string()),
        ("CARGO_PROFILE_DEV_DEBUG", "false".to_owned()),
        ("CARGO_NET_OFFLINE", "true".to_owned()),
    ]
}

/// Returns the output of `future`. The test fails after 20 s, or later on a busy machine.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// Returns the output of `future`, or an error after the time limit of [`soon`].
pub async fn within<T>(future: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut future = pin!(future);
    if let Ok(output) = timeout(STEP, &mut future).await {
        return Ok(output);
    }
    // Asking for the load takes longer than most steps, so it comes only now.
    timeout(limit(STEP).saturating_sub(STEP), future).await
}

/// Returns a port of 127.0.0.1 that stays free, for a program that needs a fixed port. The system
/// chooses its own ports from 32768 on.
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(10_000..32_768);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
