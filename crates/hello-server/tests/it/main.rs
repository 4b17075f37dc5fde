//! Tests of hello-server through the real binary, and with it of everything that `serve` does.

/// The greeting itself: names, output, close code 1000.
mod conversation;
/// The command line: usage, defaults, errors.
mod flags;
/// Requests that are slow, truncated, huge or missing.
mod handshakes;
/// Responses to HTTP requests on the same port.
mod http;
/// A page that is opened from another machine.
#[cfg(target_os = "linux")]
mod lan;
/// Close codes, timeouts and keepalive.
mod lifecycle;
/// Addresses: both families, port 0, a port in use.
mod listen;
/// The log lines for errors of clients, and their limit.
mod logging;
/// Which pages may connect.
mod origins;
/// The output, and an output that is not read.
mod output;
/// The limits of connections, in total and from one address.
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
