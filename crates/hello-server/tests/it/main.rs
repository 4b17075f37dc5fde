//! Tests of hello-server through the real binary, and with it of everything that `serve` does.

/// The greeting itself: names, output, close code 1000.
mod conversation;
/// The command line: usage, defaults, faults.
mod flags;
/// Requests that are slow, cut, huge or none at all.
mod handshakes;
/// What is answered to HTTP requests on the same port.
mod http;
/// A page that is opened from another machine.
#[cfg(target_os = "linux")]
mod lan;
/// Close codes, timeouts and keepalive.
mod lifecycle;
/// Addresses: both families, port 0, a port in use.
mod listen;
/// What is logged of what peers do wrong, and how much.
mod logging;
/// Which pages may connect.
mod origins;
/// What is printed, and when nobody reads it.
mod output;
/// How many may connect, altogether and from one address.
mod places;
/// SIGINT and SIGTERM.
#[cfg(unix)]
mod shutdown;

use testing::Program;

const EXE: &str = env!("CARGO_BIN_EXE_hello-server");

async fn start(flags: &[&str]) -> Program {
    let args = [&["localhost:0"], flags].concat();
    Program::start(EXE, &args).await
}
