//! What the demos share, so that each of them is a handler and little else; and what a service
//! of your own can be built on.
//!
//! | folder or file | what it is for |
//! | --- | --- |
//! | [`server`] | serve: listen, accept, answer HTTP, run the handler, close, shut down |
//! | [`socket`] | a WebSocket with its pings, pongs and close frames taken care of |
//! | [`fanout`] | tell everyone who subscribes what changed, and newcomers what is |
//! | `client` | feature `client`: what clients need: connect, ask for a line |
//! | `tls` | feature `tls`: load certificates; feature `make-cert`: make one |
//! | [`events`] | the JSON events of the counter |
//! | [`text`] | a peer's text, made safe to print |
//! | [`log`] | log lines, and how many of them a second |
//! | `output` | stdout and stderr, which hold nobody up |
//!
//! Nothing here hides the library: a handler uses `tungstenite`'s `Message` and
//! `futures_util`'s `StreamExt` and `SinkExt` on a [`Socket`]. Those crates are re-exported, so
//! that a program can use the very versions that this one does.

#[cfg(feature = "client")]
pub mod client;
pub mod events;
pub mod fanout;
pub mod log;
mod output;
pub mod server;
pub mod socket;
pub mod text;
#[cfg(feature = "tls")]
pub mod tls;

use std::io::Write;
use std::process::ExitCode;

pub use server::{Flags, Request, Server};
pub use socket::{CloseWith, Socket};
pub use {futures_util, tokio_tungstenite, tungstenite};

/// Any error. Its text is one lower-case sentence that says what to do next.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What a handler returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Ends `main`: an error is printed as one sentence on stderr, and the exit status is 1. What
/// [`text::say`] and the log have not written yet is written, unless nobody reads it within 1 s.
///
/// `main` could return a `Result` itself, but Rust would then print `Error: ` and the error's
/// `Debug` form, with a backtrace where `RUST_BACKTRACE` is set.
pub fn report(result: Result<()>) -> ExitCode {
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            _ = output::stderr().write_all(format!("{error}\n").as_bytes());
            ExitCode::FAILURE
        }
    };
    output::finish();
    code
}
