"""Runs programs so that every wait has a limit and none of them outlives its test."""

import atexit
import os
import re
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 10  # seconds for any one thing that a program is waited for

# Loopback needs no proxy, and no Python here is to leave compiled files in the source tree.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
} | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}

running = set()


class Program:
    """A running program and all that it has printed; with `merged`, its stderr as well.

    It leads a process group of its own, and the group ends with it.
    """

    def __init__(self, *command, name=None, cwd=None, environment=ENVIRONMENT, merged=False):
        self.name = name or Path(command[0]).name
        self.errors = tempfile.TemporaryFile()
        self.popen = subprocess.Popen(
            list(map(str, command)), cwd=cwd, env=environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else self.errors,
        )
        running.add(self)
        self.printed, self.told = b"", 0  # `told`: up to where line() and prompts() have come
        self.changed, self.silent = threading.Condition(), False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while some := os.read(self.popen.stdout.fileno(), 1 << 16):
            with self.changed:
                self.printed += some
                self.changed.notify_all()
        with self.changed:
            self.silent = True  # it has closed its stdout, mostly by ending
            self.changed.notify_all()

    def until(self, condition, limit=PATIENCE):
        """Whether the condition about what it printed came true, before the limit and its end."""
        with self.changed:
            self.changed.wait_for(lambda: condition() or self.silent, limit)
            return bool(condition())

    def line(self, limit=PATIENCE):
        """The next line of its output; None if there is none in time."""
        if not self.until(lambda: b"\n" in self.printed[self.told :], limit):
            return None
        line, self.told = self.printed[self.told :].split(b"\n")[0], self.printed.index(b"\n", self.told) + 1
        return line.decode()

    def says(self, *expected):
        """Its next lines, without those that only tell where it can be reached."""
        for text in expected:
            line = self.line()
            while line and line.startswith(("listening on ", "open http")):
                line = self.line()
            assert line == text, f"{self.name} says {line!r}"

    def prompts(self, prompt):
        """The prompt, which is no whole line."""
        end = self.told + len(prompt.encode())
        self.until(lambda: len(self.printed) >= end)
        assert self.printed[self.told : end] == prompt.encode(), f"{self.name} asks otherwise"
        self.told = end

    def type(self, line):
        self.popen.stdin.write(f"{line}\n".encode())
        self.popen.stdin.flush()

    def is_ready(self):
        """Waits until a server says where it listens: `scheme` and `port`."""
        line = self.line()
        found = re.fullmatch(r"listening on (wss?)://(\S+):(\d+)", line or "")
        assert found, f"{self.name}'s first line is {line!r}, not `listening on …`: {self.complaint()}"
        self.scheme, self.port = found[1], int(found[3])
        return self

    def url(self, host="localhost"):
        return f"{self.scheme}://{host}:{self.port}"

    def complaint(self):
        """What it wrote on stderr."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace").strip()

    def ended(self):
        """Whether it has; the end of its output comes a moment before."""
        try:
            return self.popen.wait(1 if self.silent else 0) is not None
        except subprocess.TimeoutExpired:
            return False

    def end(self, limit=PATIENCE):
        """Its exit status; None if it does not end in time. Nothing of its group is left."""
        try:
            return self.popen.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.kill()

    def rest(self):
        """What else it prints, and its exit status."""
        status = self.end()
        return self.printed[self.told :].decode(), status

    def stop(self, limit=PATIENCE):
        """Its exit status after a SIGTERM."""
        self.signal(signal.SIGTERM)
        return self.end(limit)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.popen.wait()
        self.reader.join(PATIENCE)
        running.discard(self)

    def signal(self, number):
        """To its whole group."""
        try:
            os.killpg(self.popen.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # the group is gone


@atexit.register
def kill_all():
    for program in list(running):
        program.kill()
