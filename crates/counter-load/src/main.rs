//! A load client for the counter: many clients, some of which click.
//!
//! Run `cargo run --release -p counter-load` while `cargo run --release -p counter-server` runs in
//! another terminal. You will see how many clicks a second the server takes, how long one takes
//! to reach the one who clicked and everybody else, and whether everyone got every value.
//!
//! Any server of the counter protocol will do; nothing here knows ours.

mod args;
mod bar;
mod chart;
mod checks;
mod client;
mod clock;
mod crowd;
mod frame;
mod ledger;
mod limit;
mod load;
mod pace;
mod process;
mod results;
mod summary;
mod target;

use std::io::{ErrorKind, Write, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use common::Result;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::args::Args;
use crate::bar::Bar;
use crate::checks::Checks;
use crate::clock::micros;
use crate::crowd::{Crowd, nobody};
use crate::load::Plan;
use crate::process::{Process, Watch};
use crate::results::{Results, Run};
use crate::target::Target;

fn run(args: &Args) -> Result<()> {
    let targets: Vec<_> = args.urls.iter().map(|url| Target::parse(url)).collect::<Result<_>>()?;
    limit::raise(args.clients)?;
    let server = args.pid.map(Process::find).transpose()?;
    let stop = stop_on_signals()?;

    let mut crowd = Crowd::new(targets)?;
    let results = measure(&mut crowd, args, server.as_ref(), &stop);
    crowd.close();

    let results = results?;
    print(&results)?;
    if let Some(file) = &args.json {
        write(file, &results.to_json()?)?;
    }
    if let Some(file) = &args.chart {
        write(file, &chart::svg(&results)?)?;
    }
    match results.problem {
        // Who presses Ctrl-C has the results and knows why there are few.
        Some(problem) if !results.interrupted => Err(problem.into()),
        _ => Ok(()),
    }
}

/// Connects, warms up, and measures. No results without connections.
fn measure(
    crowd: &mut Crowd,
    args: &Args,
    server: Option<&Process>,
    stop: &AtomicBool,
) -> Result<Results> {
    let stopped = || stop.load(Ordering::Relaxed);
    crowd.connect(args.clients, stop)?;
    let mut results = Results::new(args, crowd, server);
    let mut result = Ok(());

    if args.idle {
        let watch = Watch::start(server);
        result = wait(crowd, args, stop);
        results.used(&watch, 0);
    } else if !stopped() {
        // The warm-up goes down and the measured run goes up, so that both actions are checked,
        // and within each a value says which click it is of: what several senders click both
        // ways at once may come in any order.
        let (warm_up, warmed_up) = load::run(crowd, &Plan::warm_up(args), stop)?;
        results.checks = Some(Checks::of(&[&warm_up], crowd));
        result = warmed_up;
        if result.is_ok() && !stopped() {
            let watch = Watch::start(server);
            let (mut ledger, done) = load::run(crowd, &Plan::measured(args), stop)?;
            results.used(&watch, ledger.deliveries);
            result = done.and_then(|()| load::listen_on(crowd, &mut ledger));
            results.run = Run::of(&ledger)?;
            results.checks = Some(Checks::of(&[&warm_up, &ledger], crowd));
        }
    }

    results.interrupted = stopped();
    // Values that are missing in the end may be missing because the run broke off.
    let broke_off = result.err().map(|error| error.to_string());
    results.problem = broke_off.or_else(|| results.checks.as_ref()?.problem());
    if let Some(checks) = &mut results.checks {
        checks.passed = results.problem.is_none();
    }
    Ok(results)
}

/// Keeps the connections open, and does nothing with them.
fn wait(crowd: &mut Crowd, args: &Args, stop: &AtomicBool) -> Result<()> {
    let (began, duration) = (clock::now(), micros(args.duration().unwrap_or_default()));
    let bar = Bar::new("waiting", duration);
    while clock::now() - began < duration && !stop.load(Ordering::Relaxed) {
        crowd.turn(nobody)?;
        bar.at(clock::now() - began);
    }
    Ok(())
}

/// The flag that the first Ctrl-C or SIGTERM sets. The second one ends the program at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 1, stop.clone())?;
        flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

fn print(results: &Results) -> Result<()> {
    match write!(stdout(), "{results}") {
        // Whoever reads has read enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|error| format!("cannot print the report: {error}").into()),
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    let sentence = |error| format!("cannot write {}: {error}; give another file", file.display());
    std::fs::write(file, text).map_err(sentence)?;
    Ok(())
}

fn main() -> ExitCode {
    common::report(run(&Args::parse()))
}
