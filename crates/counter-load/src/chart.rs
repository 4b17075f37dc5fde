//! The chart: how long deliveries took, and how many there were over time.
//!
//! It needs no legend, font, script or style sheet: every line is named where it is. The colours
//! are middle tones on no background, so that it can be read on a light page and on a dark one.

use std::fmt::Write;

use hdrhistogram::Histogram;

use crate::results::{Results, Run, Timeline};
use crate::summary::{grouped, time};

/// Both panels' left edge, width and height, and where each begins.
const LEFT: f64 = 80.0;
const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 150.0;
const TOP: [f64; 2] = [110.0, 380.0];

/// Bars of the upper panel for each factor of ten.
const BARS: f64 = 12.0;

/// Draws the results; nothing but its title if nothing was delivered.
pub fn svg(results: &Results) -> String {
    let mut svg = String::from(HEAD);
    let title = results.title();
    label(&mut svg, LEFT, 28.0, "start", "t", &title);
    match &results.run {
        Some(run) => {
            latencies(&mut svg, run);
            deliveries(&mut svg, &run.timeline, run.deliveries_per_second);
        }
        None => label(&mut svg, LEFT, 60.0, "start", "", "nothing was delivered"),
    }
    svg + "</svg>\n"
}

const HEAD: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 600" font-family="sans-serif" font-size="13">
<style>
text { fill: #7d8590 } .t { font-size: 16px; font-weight: bold } .a { fill: #3b82d0 } .b { fill: #d07a1f }
line { stroke: #7d8590; stroke-opacity: .5 } .m { stroke: #d07a1f; stroke-opacity: 1; stroke-dasharray: 4 3 }
</style>
"##;

/// The upper panel: a histogram over a logarithmic axis of time.
fn latencies(svg: &mut String, run: &Run) {
    let top = TOP[0];
    let bottom = top + HEIGHT;
    let scale = Decades::of(&run.histogram);
    let bars = scale.bars(&run.histogram);
    let all = run.histogram.len().max(1) as f64;
    let most = bars.iter().copied().max().unwrap_or_default().max(1) as f64;

    label(svg, LEFT, top - 50.0, "start", "t", "From a click to each client's copy");
    let width = WIDTH / bars.len() as f64;
    for (index, count) in bars.iter().enumerate().filter(|(_, count)| **count > 0) {
        // What happened once in a million is seen, too.
        let height = (HEIGHT * *count as f64 / most).max(1.0);
        let x = LEFT + index as f64 * width;
        rect(svg, x, bottom - height, width - 1.0, height);
    }
    line(svg, "", [LEFT, bottom, LEFT + WIDTH, bottom]);
    for decade in scale.first..=scale.last {
        let us = 10_u64.saturating_pow(decade);
        let x = scale.x(us);
        line(svg, "", [x, bottom, x, bottom + 5.0]);
        label(svg, x, bottom + 20.0, "middle", "", &tick(us));
    }
    label(svg, LEFT + WIDTH / 2.0, bottom + 42.0, "middle", "", "time (logarithmic)");
    label(svg, LEFT - 8.0, top + 5.0, "end", "", &format!("{:.0} %", 100.0 * most / all));
    label(svg, LEFT - 8.0, bottom + 4.0, "end", "", "0 %");
    upright(svg, top, "share of deliveries");

    let percentiles = &run.latency_us.any_client;
    let marks = [
        ("half within", percentiles.p50),
        ("99 % within", percentiles.p99),
        ("all within", percentiles.max),
    ];
    for (row, (name, us)) in marks.into_iter().enumerate() {
        // One above the other, because they can be close together.
        let y = top - 32.0 + 15.0 * row as f64;
        let x = scale.x(us);
        let (anchor, x_text) =
            if x > LEFT + WIDTH / 2.0 { ("end", x - 5.0) } else { ("start", x + 5.0) };
        line(svg, "m", [x, y - 9.0, x, bottom]);
        label(svg, x_text, y, anchor, "b", &format!("{name} {}", time(us)));
    }
}

/// The lower panel: deliveries a second over time.
fn deliveries(svg: &mut String, timeline: &Timeline, mean: f64) {
    let top = TOP[1];
    let bottom = top + HEIGHT;
    let points = &timeline.deliveries_per_second;
    let most = points.iter().copied().fold(mean, f64::max);
    let seconds = points.len() as f64 * timeline.slice_seconds;
    let y = |rate: f64| bottom - HEIGHT * rate / most;
    let step = WIDTH / points.len().max(1) as f64;

    label(svg, LEFT, top - 22.0, "start", "t", "Deliveries over time");
    for (index, rate) in points.iter().enumerate() {
        rect(svg, LEFT + index as f64 * step, y(*rate), step - 0.5, bottom - y(*rate));
    }
    line(svg, "", [LEFT, bottom, LEFT + WIDTH, bottom]);
    label(svg, LEFT - 8.0, bottom + 4.0, "end", "", "0");
    label(svg, LEFT - 8.0, top + 4.0, "end", "", &short(most));
    upright(svg, top, "deliveries per second");
    for quarter in 0..=4 {
        let share = f64::from(quarter) / 4.0;
        let x = LEFT + WIDTH * share;
        line(svg, "", [x, bottom, x, bottom + 5.0]);
        label(svg, x, bottom + 20.0, "middle", "", &format!("{:.1} s", seconds * share));
    }
    label(svg, LEFT + WIDTH / 2.0, bottom + 42.0, "middle", "", "time since the first click");
    line(svg, "m", [LEFT, y(mean), LEFT + WIDTH, y(mean)]);
    let name = format!("on average {} per second", grouped(mean));
    label(svg, LEFT + WIDTH, top - 8.0, "end", "b", &name);
}

/// The logarithmic axis: whole factors of ten, as powers of ten microseconds.
struct Decades {
    first: u32,
    last: u32,
}

impl Decades {
    fn of(histogram: &Histogram<u64>) -> Self {
        let first = histogram.min().max(1).ilog10();
        Self { first, last: (histogram.max().max(1).ilog10() + 1).max(first + 1) }
    }

    /// Where a time is, from 0 to 1.
    fn share(&self, us: u64) -> f64 {
        let all = f64::from(self.last - self.first);
        (((us.max(1) as f64).log10() - f64::from(self.first)) / all).clamp(0.0, 1.0)
    }

    fn x(&self, us: u64) -> f64 {
        LEFT + WIDTH * self.share(us)
    }

    fn bars(&self, histogram: &Histogram<u64>) -> Vec<u64> {
        let mut bars = vec![0; (f64::from(self.last - self.first) * BARS) as usize];
        let last = bars.len() - 1;
        for step in histogram.iter_recorded() {
            let index = (self.share(step.value_iterated_to()) * bars.len() as f64) as usize;
            if let Some(bar) = bars.get_mut(index.min(last)) {
                *bar += step.count_at_value();
            }
        }
        bars
    }
}

fn tick(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..1_000_000 => format!("{} ms", us / 1000),
        _ => format!("{} s", us / 1_000_000),
    }
}

fn short(number: f64) -> String {
    match number {
        0.0..1e4 => grouped(number),
        1e4..1e6 => format!("{:.0} k", number / 1e3),
        _ => format!("{:.1} M", number / 1e6),
    }
}

// Writing to a String cannot fail.

fn rect(svg: &mut String, x: f64, y: f64, width: f64, height: f64) {
    _ = writeln!(
        svg,
        r#"<rect class="a" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
    );
}

fn line(svg: &mut String, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
    _ = writeln!(
        svg,
        r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
    );
}

fn label(svg: &mut String, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    _ = writeln!(
        svg,
        r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
    );
}

/// The title of a vertical axis.
fn upright(svg: &mut String, top: f64, text: &str) {
    let y = top + HEIGHT / 2.0;
    _ = writeln!(
        svg,
        r#"<text x="16" y="{y}" text-anchor="middle" transform="rotate(-90 16 {y})">{text}</text>"#
    );
}
