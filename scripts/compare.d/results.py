"""Writes the results as a Markdown table and an SVG chart."""

import datetime
import os
import pathlib
import platform
import re
import statistics

import peers

LOAD_BUSY = 0.9  # of a core; from there on the load client may be what limits the figures


def at(report, path):
    for name in path.split("/"):
        report = report and report.get(name)
    return report


class Figure:
    """The median of some reports, and their spread."""

    def __init__(self, reports, path, scale=1.0):
        values = [at(report, path) for report in reports]
        self.values = sorted(value * scale for value in values if value is not None)
        self.median = statistics.median(self.values) if self.values else None

    def text(self):
        return "–" if self.median is None else number(self.median)

    def spread(self):
        if len(self.values) < 2:
            return self.text()
        return f"{self.text()} ({number(self.values[0])}–{number(self.values[-1])})"


def number(value):
    for limit, digits in ((1, 3), (10, 2), (100, 1)):
        if abs(value) < limit:
            return f"{value:.{digits}f}"
    return f"{value:,.0f}"


def checked(reports):
    skipped = sum(at(report, "checks/skipped") or 0 for report in reports)
    wrong = sum(not at(report, "checks/passed") for report in reports)
    if skipped:
        return f"{skipped:,} skipped"
    return f"wrong in {wrong} of {len(reports)}" if wrong else "all, in order"


def machine():
    model = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE)
        model = found[1] if found else model
    count = os.cpu_count()
    return f"{model}, {count} CPUs; {platform.system()} {platform.release()}; loopback"


COLUMNS = [
    ("server's CPU per delivery, µs", "server/cpu_us_per_delivery", 1),
    ("deliveries/s", "run/deliveries_per_second", 1),
    ("updates/s", "run/updates_per_second", 1),
    ("p50, ms", "run/latency_us/any_client/p50", 1e-3),
    ("p99, ms", "run/latency_us/any_client/p99", 1e-3),
    ("connects/s", "connect/per_second", 1),
    ("memory per connection, KiB", "memory/kib_per_connection", 1),
]


def table(runs):
    """Rows for the servers with results, the best first."""
    key = COLUMNS[0][1]
    rows = [(name, reports) for name, reports in runs.items() if reports]
    rows.sort(key=lambda row: Figure(row[1], key).median or 0)
    head = ["server", *(title for title, _, _ in COLUMNS), "values", "load client's CPU"]
    lines = [f"| {' | '.join(head)} |", f"| --- {'| --: ' * len(COLUMNS)}| --- | --: |"]
    for name, reports in rows:
        cells = [Figure(reports, path, scale) for _, path, scale in COLUMNS]
        texts = [cell.spread() if n < 2 else cell.text() for n, cell in enumerate(cells)]
        load = Figure(reports, "load/cpu_share").median
        load = "–" if load is None else f"{load:.0%}" + (" (limits)" if load > LOAD_BUSY else "")
        lines.append(f"| {' | '.join([name, *texts, checked(reports), load])} |")
    return lines


def write(folder, runs, servers, facts):
    lines = ["# The counter on several libraries", ""]
    facts = [f"{datetime.date.today()}; {machine()}", *facts]
    lines += [f"- {fact}" for fact in facts]
    lines += [f"- {peer.name}: {peer.what}" for peer in servers]
    lines += ["", "Medians, with the smallest and the largest in brackets. Latency is from a click to"]
    lines += ["any client's copy, the load client's own time included. A click is in flight until every"]
    lines += ["client has received the new value.", ""]
    lines += ["![The same as a chart](chart.svg)"]
    for case, of_case in runs.items():
        lines += ["", f"## {case}", "", *table(of_case)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "RESULTS.md").write_text("\n".join(lines) + "\n")
    (folder / "chart.svg").write_text(chart(runs, facts[0]))


def chart(runs, machine):
    """A panel for each case, a bar for each server: no legend, middle tones, no background."""
    path, unit = COLUMNS[0][1], "µs of the server's CPU per delivery; less is better"
    everything = [report for of_case in runs.values() for reports in of_case.values() for report in reports]
    if any(at(report, path) is None for report in everything):
        path, unit = COLUMNS[1][1], "deliveries per second; more is better"
    y, parts = 30, []
    text = '<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>'.format
    parts.append(text(20, y, "t", "start", f"One counter, many clients: {unit}"))
    for case, of_case in runs.items():
        rows = [(name, Figure(reports, path)) for name, reports in of_case.items() if reports]
        rows.sort(key=lambda row: row[1].median, reverse="more" in unit)
        most = max((figure.values[-1] for _, figure in rows), default=0) or 1
        y += 40
        parts.append(text(20, y, "c", "start", case))
        for name, figure in rows:
            y += 24
            x = [110 + 460 * value / most for value in (figure.median, figure.values[0], figure.values[-1])]
            kind = "o" if name == "ours" else "p"
            parts.append(text(102, y, kind, "end", name))
            parts.append(f'<rect class="{kind}" x="110" y="{y - 12}" width="{x[0] - 110:.1f}" height="15"/>')
            parts.append(f'<path d="M{x[1]:.1f} {y - 4.5}H{x[2]:.1f}"/>')
            parts.append(text(f"{x[2] + 8:.1f}", y, kind, "start", figure.spread()))
    y += 36
    parts.append(text(20, y, "s", "start", "Bars are medians, lines and brackets the smallest and the largest."))
    parts.append(text(20, y + 18, "s", "start", machine.replace("&", "&amp;").replace("<", "&lt;")))
    style = (
        "text { fill: #7d8590 } .t { font-size: 16px; font-weight: bold } .c { font-weight: bold } .s { font-size: 12px }"
        " text.o { fill: #d07a1f; font-weight: bold } rect.o { fill: #d07a1f } rect.p { fill: #3b82d0 }"
        " path { stroke: #7d8590; stroke-width: 2 }"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 {y + 30}" font-family="sans-serif" font-size="13">'
    return "\n".join([head, f"<style>{style}</style>", *parts, "</svg>\n"])
