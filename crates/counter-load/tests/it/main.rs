//! Tests of counter-load through the real binary, against a counter server that can misbehave.

/// Errors, and their messages.
mod errors;
/// Clicks without a value, and values without a click.
mod missing;
/// The report of a run.
mod report;
/// The counter server.
mod server;
/// A load client that is ended or paused by a signal.
#[cfg(unix)]
mod signals;

use std::process::Output;

use serde_json::Value;

const EXE: &str = env!("CARGO_BIN_EXE_counter-load");

/// Runs counter-load with 10 clients for 300 clicks, and with more flags.
async fn load(url: &str, flags: &[&str]) -> Output {
    let few = [url, "--clients", "10", "--senders", "3", "--in-flight", "8", "--updates", "300"];
    testing::run(EXE, &[&few, flags].concat(), "").await
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A path for a file of one test.
fn file(name: &str) -> String {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    _ = std::fs::remove_file(&file);
    file.to_str().unwrap().to_owned()
}

fn json(file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}
