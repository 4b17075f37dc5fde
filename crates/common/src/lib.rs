//! Code that the demos share: TLS certificates, the counter's JSON events, printing and logging.
//! The sockets are in the crate `websockets`.
//!
//! | file or folder | purpose |
//! | --- | --- |
//! | [`events`] | the JSON events of the counter |
//! | [`text`] | a peer's text, made safe to print |
//! | [`log`] | log lines, and a limit of them for each second |
//! | `private` | files that only their owner may read |
//! | `output` | stdout and stderr, which delay no program even if they are not read |
//! | `tls` | feature `tls`: load certificates; feature `make-cert`: make one |

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod events;
pub mod log;
mod output;
mod private;
pub mod text;
#[cfg(feature = "tls")]
pub mod tls;

use std::io::Write;
use std::process::ExitCode;

pub use output::write_stdout;
pub use private::check_private;
pub use text::{escaped, print_line, print_status, printable};

/// Any error. Its text is one lower-case sentence with the failure and a fix.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of a handler, and of a program.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Ends `main`: prints an error as one line on stderr, with exit status 1. Before that it writes
/// the lines of [`print_line`] and of the log that are still waiting, for 1 s at most (1.5 s if
/// stderr is not read either).
///
/// The exit status is also 1 if a line could not be written to stdout, for example because the disk
/// is full. If the reader of stdout reads no more, the number of lost lines is printed on stderr. If
/// the reader has closed stdout, this is not an error.
///
/// `main` could return a `Result` itself. But Rust would then print `Error: ` and the error's
/// `Debug` form, with a backtrace if `RUST_BACKTRACE` is set.
pub fn report(result: Result<()>) -> ExitCode {
    if let Err(error) = &result {
        _ = output::stderr().write_all(format!("{error}\n").as_bytes());
    }
    match output::finish() && result.is_ok() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
