//! The chart: a histogram of the latencies, and the deliveries per second over time.
//!
//! Its colours are middle tones without a background, so that it is readable on light and on dark
//! pages.

use common::Result;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::results::{Percentiles, Results, Run, Timeline};
use crate::summary::{grouped, time};

const GREY: RGBColor = RGBColor(0x7d, 0x85, 0x90);
const BLUE: RGBColor = RGBColor(0x3b, 0x82, 0xd0);
const ORANGE: RGBColor = RGBColor(0xd0, 0x7a, 0x1f);

/// The number of bars in the upper panel for each factor of ten.
const BARS_PER_DECADE: f64 = 12.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the results. If no value was delivered, it draws only the title and a note.
pub fn svg(results: &Results) -> Result<String> {
    let mut svg = String::new();
    let page = SVGBackend::with_string(&mut svg, (800, 600)).into_drawing_area();
    let panels = page.titled(&results.title(), text(20))?;
    match &results.run {
        Some(run) => {
            let (upper, lower) = panels.split_vertically(300);
            latencies(&upper, run)?;
            deliveries(&lower, &run.timeline, run.deliveries_per_second)?;
        }
        None => panels.draw(&Text::new("nothing was delivered", (80, 60), text(15)))?,
    }
    page.present()?;
    drop((page, panels));
    Ok(svg)
}

fn panel<'a, 'b>(area: &'a Area<'b>, caption: &str) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.caption(caption, text(17)).margin(10).margin_right(40);
    builder.x_label_area_size(45).y_label_area_size(90);
    builder
}

fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&GREY)
}

/// The upper panel: a histogram over a logarithmic axis of time, and a line for each percentile.
fn latencies(area: &Area<'_>, run: &Run) -> Result<()> {
    let count = run.histogram.len() as f64;
    let mut bars = Vec::new();
    let mut from = 1;
    for bar in run.histogram.iter_log(1, 10_f64.powf(1.0 / BARS_PER_DECADE)) {
        let to = bar.value_iterated_to() + 1;
        bars.push((from, to, 100.0 * bar.count_since_last_iteration() as f64 / count));
        from = to;
    }
    let first = 10_u64.pow(run.histogram.min().max(1).ilog10());
    let last = 10_u64.pow(run.histogram.max().max(1).ilog10() + 1);
    let most = bars.iter().map(|(_, _, share)| *share).fold(0.0, f64::max);

    let Percentiles { p50, p99, max, .. } = run.latency_us.any_client;
    let [half, nearly_all, all] = [p50, p99, max].map(time);
    let caption = format!(
        "From a click to each client's copy: half within {half}, 99 % within {nearly_all}, \
         all within {all}"
    );
    let times = (first..last).log_scale();
    let mut chart = panel(area, &caption).build_cartesian_2d(times, 0.0..most)?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_mesh().axis_style(GREY).label_style(text(15));
    mesh.x_desc("time (logarithmic)").x_labels(5).x_label_formatter(&|us| time(*us));
    mesh.y_desc("share of deliveries").y_label_formatter(&|share| format!("{share:.0} %"));
    mesh.draw()?;
    chart.draw_series(
        bars.into_iter()
            .map(|(from, to, share)| Rectangle::new([(from, 0.0), (to, share)], BLUE.filled())),
    )?;
    for us in [p50, p99, max] {
        chart.draw_series([PathElement::new([(us, 0.0), (us, most)], ORANGE)])?;
    }
    Ok(())
}

/// The lower panel: deliveries a second over time.
fn deliveries(area: &Area<'_>, timeline: &Timeline, mean: f64) -> Result<()> {
    let points = &timeline.deliveries_per_second;
    let most = points.iter().copied().fold(mean, f64::max);
    let seconds = points.len() as f64 * timeline.slice_seconds;
    let caption = format!("Deliveries over time: on average {} per second", grouped(mean));
    let mut chart = panel(area, &caption).build_cartesian_2d(0.0..seconds, 0.0..most)?;
    let mut mesh = chart.configure_mesh();
    mesh.disable_mesh().axis_style(GREY).label_style(text(15));
    mesh.x_desc("seconds since the first click");
    mesh.y_desc("deliveries per second").y_label_formatter(&|rate| grouped(*rate));
    mesh.draw()?;
    chart.draw_series(points.iter().enumerate().map(|(index, rate)| {
        let from = index as f64 * timeline.slice_seconds;
        Rectangle::new([(from, 0.0), (from + timeline.slice_seconds, *rate)], BLUE.filled())
    }))?;
    chart.draw_series([PathElement::new([(0.0, mean), (seconds, mean)], ORANGE)])?;
    Ok(())
}
