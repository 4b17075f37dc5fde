"""Checks the checks: each must accept a text that is true and notice the same text made untrue in
one place. The texts are about a small tree with programs of a few lines, made in a temporary
folder."""

import os
import pathlib
import tempfile

import commands
import process
import tries
from cases import CASES, FILES, HELP, TLS
from parse import Text
from report import Report
from tree import Tree


class Limits(commands.Limits):
    command = 2
    end = 1
    last_lines = 0.3


class SmallTree(Tree):
    """The small tree, whose programs are known by their help only."""

    helps = {"hello-server": HELP, "hello": HELP.replace(":1]", ":2]") + TLS}

    def targets(self, package, kind):
        return [package] if package in self.helps else None


def checked(checks, markdown, tree):
    report = Report(silent=True)
    limits = [Limits] if checks in (commands, tries) else []
    checks.check(Text("README.md", markdown), tree, report, *limits)
    return report


def run(report):
    with tempfile.TemporaryDirectory() as folder:
        for name, content in FILES.items():
            file = pathlib.Path(folder, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        tree = SmallTree(folder)
        for checks, about, markdown, untruths in CASES:
            where, failures = f"{checks.__name__}:", checked(checks, markdown, tree).failures
            report.check(not failures, where, f"{about} is accepted", "not so", failures)
            for untruth, true, untrue, said in untruths:
                assert true in markdown, f"there is no {true!r} to make untrue"
                failures = checked(checks, markdown.replace(true, untrue, 1), tree).failures
                ok = any(said in failure for failure in failures)
                report.check(ok, where, f"{untruth} is noticed", f"no failure says {said!r}", failures)
        pid = int(pathlib.Path(folder, "pid").read_text())
        report.check(is_gone(pid), "process:", "what a command leaves behind is ended", f"{pid} runs")
        report.check(not process.running, "process:", "every process has ended")


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = pathlib.Path(f"/proc/{pid}/stat")  # one that nobody has waited for is gone, too
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"
