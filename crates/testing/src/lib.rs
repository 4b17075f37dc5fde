//! What the tests share: [`Program`] starts a real binary and reads what it prints, [`Peer`] is
//! a well-behaved client, [`Raw`] one that can break every rule.
//!
//! Every wait is bounded by [`LIMIT`], so that a test that hangs fails.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

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

/// How long any one step may take: far longer than it does on a loaded machine of two cores.
pub const LIMIT: Duration = Duration::from_secs(20);

/// What cargo needs in its environment to build a project outside the workspace. It shares what the
/// workspace's own builds have compiled already: `temporary` is `CARGO_TARGET_TMPDIR`, a folder in
/// the workspace's target folder.
pub fn outside_build(temporary: &str) -> [(&'static str, String); 3] {
    let target = Path::new(temporary).parent().unwrap_or(Path::new(temporary));
    [
        ("CARGO_BUILD_BUILD_DIR", target.display().to_string()),
        // As for dependencies in the workspace, or they would be compiled again.
        ("CARGO_PROFILE_DEV_DEBUG", "false".to_owned()),
        ("CARGO_NET_OFFLINE", "true".to_owned()),
    ]
}

/// `future`, or a failed test after [`LIMIT`].
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited too long for {what}"),
    }
}

/// A port of 127.0.0.1 that stays free, for whom cannot be told to take any, or comes back to the
/// same: who asks for any port, or calls from one, gets one from 32768 on.
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(10_000..32_768);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
