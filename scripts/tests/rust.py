#!/usr/bin/env python3
"""Runs the Rust tests, several binaries at a time, because most of them wait most of the time.

    scripts/tests/rust.py [ARGUMENT OF cargo test...]

A binary's output is printed when it has ended, and only its failures in full. The line of each test
that took a second or longer is kept, so that the slowest can be found.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

AT_ONCE = 4
PATIENCE = 900  # seconds that one binary may take
SLOW = re.compile(r"^test (\S+) .*<(\d+\.\d+)s>$", re.MULTILINE)


def build(arguments):
    """Builds the test binaries; the name, the path and the package's folder of each."""
    command = ["cargo", "test", *arguments, "--no-run", "--message-format=json-render-diagnostics"]
    built = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        sys.exit(built.returncode)
    for message in map(json.loads, built.stdout.splitlines()):
        if message.get("executable") and message["profile"]["test"]:
            folder = pathlib.Path(message["manifest_path"]).parent
            yield f"{folder.name}/{message['target']['name']}", message["executable"], folder


def run(binary):
    name, executable, folder = binary
    # The time of each test is printed only by what may use unstable options.
    command = [executable, "-Zunstable-options", "--report-time"]
    environment = {**os.environ, "RUSTC_BOOTSTRAP": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE
    )
    return name, done.returncode, done.stdout.decode(errors="replace")


def main():
    arguments = sys.argv[1:]
    failed = False
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run, binary) for binary in build(arguments)]):
            name, status, output = done.result()
            failed |= status != 0
            print(f"\n-- {name}")
            if status:
                print(output)
            for test, seconds in SLOW.findall(output):
                if float(seconds) >= 1:
                    print(f"{seconds}s {name}::{test}")
            print(*re.findall(r"^test result: .*$", output, re.MULTILINE)[-1:], flush=True)
    documentation = subprocess.run(["cargo", "test", "--quiet", "--doc", *arguments])
    sys.exit(failed or documentation.returncode)


main()
