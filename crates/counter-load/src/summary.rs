//! The summary of the results on stdout.

use std::fmt::{self, Display, Formatter};

use indicatif::HumanFloatCount;

use crate::checks::Checks;
use crate::process::CpuUsage;
use crate::results::{Fairness, Percentiles, Results, Run};

/// If the load client uses at least this share of a core, it may limit the results.
const BUSY_SHARE: f64 = 0.9;

impl Display for Results {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.title())?;
        write!(f, "connects     {}/s", grouped(self.connect.per_second))?;
        let clients = grouped(self.clients as f64);
        match self.connect.told_seconds {
            Some(s) => writeln!(f, "; all {clients} received the full user count after {s:.2} s")?,
            None => writeln!(f, "; not all received the full user count")?,
        }
        if let Some(run) = &self.run {
            run.fmt(f)?;
        }
        if let Some(server) = &self.server {
            writeln!(f, "server       {server}")?;
        }
        if let Some(memory) = &self.memory {
            write!(f, "memory       {:.2} KiB per connection", memory.kib_per_connection)?;
            write!(f, "; the server has {:.1} MiB", memory.connected_kib / 1024.0)?;
            if let Some(kib) = memory.after_kib {
                write!(f, ", and {:.1} MiB after the run", kib / 1024.0)?;
            }
            writeln!(f)?;
        }
        if let Some(load) = &self.load {
            writeln!(f, "this client  {load}")?;
            if load.cpu_share > BUSY_SHARE {
                write!(f, "             the load client is the limit; ")?;
                writeln!(f, "the server may be faster than this")?;
            }
        }
        if let Some(checks) = &self.checks {
            writeln!(f, "checked      {checks}")?;
        }
        match (&self.problem, self.interrupted) {
            (_, true) => writeln!(f, "stopped      by Ctrl-C"),
            (Some(problem), _) => writeln!(f, "problem      {problem}"),
            (None, _) => Ok(()),
        }
    }
}

impl Results {
    /// The load that the command line asked for.
    pub fn title(&self) -> String {
        let mut title = format!("{}: {} clients", self.url, grouped(self.clients as f64));
        title += &match self.senders {
            Some(senders) => format!(", {senders} of them clicking"),
            None => ", no clicks".into(),
        };
        if let Some(clicks) = self.in_flight {
            title += &format!(", {} in flight", grouped(clicks.into()));
        }
        if self.barrier {
            title += " until every client has the value";
        }
        if let Some(rate) = self.rate {
            title += &format!(", {} clicks/s by the clock", grouped(rate));
        }
        title
    }
}

impl Display for Run {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { seconds, latency_us, fairness, .. } = self;
        let (updates, deliveries) = (self.updates as f64, self.deliveries as f64);
        let per_second = grouped(self.updates_per_second);
        writeln!(f, "updates      {per_second}/s ({} in {seconds:.2} s)", grouped(updates))?;
        let per_second = grouped(self.deliveries_per_second);
        writeln!(f, "deliveries   {per_second}/s ({})", grouped(deliveries))?;
        let [p50, p90, p99, p99_9, max] = ["p50", "p90", "p99", "p99.9", "max"];
        write!(f, "latency      {p50:>9}{p90:>9}{p99:>9}{p99_9:>9}{max:>9}")?;
        writeln!(f, "   from a click to")?;
        writeln!(f, "             {}   its sender's own copy", latency_us.own_copy)?;
        writeln!(f, "             {}   any client's copy", latency_us.any_client)?;
        writeln!(f, "             {}   the last client's copy", latency_us.last_client)?;
        let Fairness { slowest_client_p99_us, median_client_p99_us, ratio } = *fairness;
        let (slowest, median) = (time(slowest_client_p99_us), time(median_client_p99_us));
        write!(f, "fairness     the slowest client's p99 is {ratio:.2} x the median client's ")?;
        writeln!(f, "({slowest}, {median})")
    }
}

impl Display for Percentiles {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for value in [self.p50, self.p90, self.p99, self.p99_9, self.max] {
            write!(f, "{:>9}", time(value))?;
        }
        Ok(())
    }
}

impl Display for CpuUsage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(each) = self.cpu_us_per_delivery {
            write!(f, "{each:.3} µs of CPU per delivery")?;
            let parts = self.user_us_per_delivery.zip(self.system_us_per_delivery);
            if let Some((user, system)) = parts {
                write!(f, " ({user:.3} user, {system:.3} system)")?;
            }
            write!(f, ", ")?;
        }
        write!(f, "{:.0} % of a core", self.cpu_share * 100.0)
    }
}

impl Display for Checks {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let (true, Some(value)) = (self.passed, self.end_value) {
            return write!(f, "every client got every value, in order; all ended at {value}");
        }
        let counts = [
            (self.skipped, "skipped values"),
            (self.backwards, "older values after newer ones"),
            (self.unasked, "unexpected values"),
            (self.repeated, "repeated values"),
        ];
        write!(f, "FAILED:")?;
        if self.missing > 0 {
            let (missing, clicks) = (grouped(self.missing as f64), grouped(self.clicks as f64));
            write!(f, " {missing} of {clicks} clicks did not reach every client")?;
            write!(f, " and are missing in the latencies;")?;
        }
        for (count, kind) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, " {} {kind};", grouped(count as f64))?;
        }
        match self.end_value {
            Some(value) => write!(f, " all ended at {value}"),
            None => write!(f, " not all ended at the same value"),
        }
    }
}

/// A number with a comma between groups of three digits.
pub fn grouped(number: f64) -> String {
    match number < 10.0 && number.fract() != 0.0 {
        true => format!("{number:.1}"),
        false => format!("{:.0}", HumanFloatCount(number)),
    }
}

/// A time in microseconds, printed with a suitable unit.
pub fn time(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..10_000 => format!("{:.2} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}
