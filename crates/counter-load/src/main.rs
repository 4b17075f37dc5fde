//! A load client for the counter: many clients, some of which click.
//!
//! Run `cargo run --release -p counter-load` while `cargo run --release -p counter-server` runs in
//! another terminal. You will see how many clicks per second the server handles, how long a click
//! takes to reach its sender and all other clients, and whether every client received every value.
//!
//! It works with any server of the counter protocol, not only with ours.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod args;
mod chart;
mod checks;
mod client;
mod frame;
#[cfg(unix)]
mod limit;
mod load;
mod pace;
mod pool;
mod process;
mod progress;
mod recorder;
mod results;
mod summary;
mod target;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::Parser;
use common::{Result, print_line};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::args::Args;
use crate::checks::Checks;
use crate::load::Load;
use crate::pool::ClientPool;
use crate::process::{CpuMeter, Process};
use crate::progress::progress_bar;
use crate::results::{Results, Run};
use crate::target::Target;

fn run(args: &Args) -> Result<()> {
    let targets: Vec<_> = args.urls.iter().map(|url| Target::parse(url)).collect::<Result<_>>()?;
    #[cfg(unix)]
    limit::raise(args.clients)?;
    let server = args.pid.map(Process::find).transpose()?;

    let mut pool = ClientPool::new(stop_on_signals()?)?;
    let results = measure(&mut pool, targets, args, server.as_ref());
    pool.close();

    let results = results?;
    results.to_string().lines().for_each(print_line);
    if let Some(file) = &args.json {
        write_file(file, &(serde_json::to_string_pretty(&results)? + "\n"))?;
    }
    if let Some(file) = &args.chart {
        write_file(file, &chart::svg(&results)?)?;
    }
    match results.problem {
        // After Ctrl-C, incomplete results are not an error.
        Some(problem) if !results.interrupted => Err(problem.into()),
        _ => Ok(()),
    }
}

/// Connects, warms up, and measures. If this fails, there are no results to print.
fn measure(
    pool: &mut ClientPool,
    targets: Vec<Target>,
    args: &Args,
    server: Option<&Process>,
) -> Result<Results> {
    let connect = pool.connect(targets, args.clients as usize)?;
    let mut results = Results::new(args, pool, connect, server);
    let mut result = Ok(());

    if args.idle {
        let cpu = CpuMeter::start(server);
        result = stay_idle(pool, args);
        results.add_usage(&cpu, 0);
    } else if !pool.is_stopped() {
        // The warm-up clicks down and the measured run clicks up, so both actions are checked.
        // Within each run, a value tells which click made it. With both actions at once it would
        // not, because the clicks of several senders may arrive in any order.
        let mut warm_up = Load::warm_up(args, pool)?;
        result = warm_up.run(pool, "warming up");
        results.checks = Some(Checks::of(&[&warm_up.recorder], pool));
        if result.is_ok() && !pool.is_stopped() {
            let cpu = CpuMeter::start(server);
            let mut load = Load::measured(args, pool)?;
            result = load.run(pool, "clicking");
            results.add_usage(&cpu, load.recorder.deliveries);
            result = result.and_then(|()| load.check_for_late_values(pool));
            results.run = Run::of(&load.recorder)?;
            results.checks = Some(Checks::of(&[&warm_up.recorder, &load.recorder], pool));
        }
    }

    results.interrupted = pool.is_stopped();
    // If the run failed, report its error first, because it may be the reason for missing values.
    let run_error = result.err().map(|error| error.to_string());
    results.problem = run_error.or_else(|| results.checks.as_ref()?.problem());
    if let Some(checks) = &mut results.checks {
        checks.passed = results.problem.is_none();
    }
    Ok(results)
}

/// Keeps the connections open without any clicks.
fn stay_idle(pool: &mut ClientPool, args: &Args) -> Result<()> {
    let (began, duration) = (Instant::now(), args.duration());
    let bar = progress_bar("waiting", duration.as_millis() as u64);
    while began.elapsed() < duration && !pool.is_stopped() {
        pool.poll_once(|_, _, _| Ok(()))?;
        bar.set_position(began.elapsed().as_millis() as u64);
    }
    Ok(())
}

/// A flag that the first Ctrl-C or SIGTERM sets. The second signal ends the program immediately.
fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 1, stop.clone())?;
        flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

fn write_file(file: &Path, text: &str) -> Result<()> {
    let message = |error| format!("cannot write {}: {error}; give another file", file.display());
    std::fs::write(file, text).map_err(message)?;
    Ok(())
}

fn main() -> ExitCode {
    common::report(run(&Args::parse()))
}
