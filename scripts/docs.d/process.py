"""Starts commands in process groups of their own, with limits, and leaves none behind."""

import os
import re
import signal
import subprocess
import threading
import time

running = set()

# What cargo says about its work: a word that ends in column 12.
CARGO = re.compile(
    r"^(?=[ \w]{12} ) *(?:Adding|Blocking|Building|Checking|Compiling|Downloaded|Documenting|Downloading"
    r"|Executable|Finished|Fresh|Locking|Running|Updating|Removed|Removing) "
)


class Process:
    """A bash command, and what it has printed to stdout and stderr."""

    def __init__(self, command, top, environment, stdin=subprocess.DEVNULL):
        self.command = command
        self.popen = subprocess.Popen(
            ["bash", "-c", command], cwd=top, env=environment, stdin=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )
        running.add(self)
        self.printed = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while some := os.read(self.popen.stdout.fileno(), 1 << 16):
            self.printed += some

    def lines(self, typed_at=None, typed=""):
        """What it printed, without cargo's lines; with what was typed, as a terminal shows it."""
        printed = self.printed
        if typed_at is not None:
            printed = printed[:typed_at] + typed.encode() + b"\n" + printed[typed_at:]
        lines = printed.decode(errors="replace").splitlines()
        return [line for line in lines if not CARGO.match(line)]

    def type(self, line, limit):
        """Waits for a prompt and types a line; returns where in the output that was."""
        poll(lambda: self.printed and not self.printed.endswith(b"\n") or self.ended(), limit)
        at = len(self.printed)
        try:
            self.popen.stdin.write(line.encode() + b"\n")
            self.popen.stdin.close()
        except BrokenPipeError:
            pass  # it has ended, and its status tells why
        return at

    def ended(self):
        return self.popen.poll() is not None

    def wait(self, limit):
        """Its status; None if it did not end in time. Nothing of its group is left."""
        try:
            status = self.popen.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        self.signal(signal.SIGKILL)
        self.popen.wait()
        self.reader.join(5)
        running.discard(self)
        return status

    def stop(self, limit):
        """Ends it as Ctrl-C would, and returns its status."""
        self.signal(signal.SIGTERM)
        return self.wait(limit)

    def signal(self, number):
        try:
            os.killpg(self.popen.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # the group is gone


def poll(condition, limit):
    """Whether the condition came true within the limit, in seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def end_all():
    for process in list(running):
        process.signal(signal.SIGKILL)
        process.popen.wait()
        running.discard(process)
