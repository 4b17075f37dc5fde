"""Runs programs so that every wait has a limit and none of them outlives its test."""

import atexit
import os
import random
import re
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Seconds for any one thing: far longer than it takes, and longer still on a busy machine.
PATIENCE = 30 * max(1, os.getloadavg()[0] / (os.cpu_count() or 1))

# Loopback needs no proxy, and no Python here is to leave compiled files in the source tree.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
} | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}


def free_port():
    """A port that stays free: who asks for any port, or calls from one, gets one from 32768 on."""
    while True:
        with suppress(OSError), socket.create_server(("127.0.0.1", random.randrange(10_000, 32_768))) as free:
            return free.getsockname()[1]


def wait(condition, limit=PATIENCE):
    """Asks again and again until it holds, or the limit is over; whether it holds."""
    end = time.monotonic() + limit
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return holds


def answers(port):
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True


class Program:
    """A running program and what it prints; with `merged`, its stderr as well.

    It leads a process group of its own, and the group ends with it.
    """

    def __init__(self, *command, name=None, cwd=None, environment=ENVIRONMENT, merged=False):
        self.name = name or Path(command[0]).name
        self.output, self.errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.popen = subprocess.Popen(
            list(map(str, command)), cwd=cwd, env=environment, start_new_session=True, stdin=subprocess.PIPE,
            stdout=self.output, stderr=self.output if merged else self.errors,
        )
        self.told = 0  # up to where line() and prompts() have come
        atexit.register(self.kill)

    @staticmethod
    def _read(file):
        # By position: where the file is at is where the program writes next.
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)

    @property
    def printed(self):
        """All that it has printed."""
        return self._read(self.output)

    def complaint(self):
        """What it wrote on stderr."""
        return self._read(self.errors).decode(errors="replace").strip()

    def until(self, condition, limit=PATIENCE):
        """Whether the condition about what it printed came true, before the limit and its end."""
        wait(lambda: condition() or self.ended(), limit)
        return bool(condition())

    def line(self, limit=PATIENCE):
        """The next line of its output; None if there is none in time."""
        if not self.until(lambda: b"\n" in self.printed[self.told :], limit):
            return None
        line = self.printed[self.told :].split(b"\n")[0]
        self.told += len(line) + 1
        return line.decode()

    def says(self, *expected):
        """Its next lines, without those that only tell where it can be reached."""
        for text in expected:
            line = self.line()
            while line and line.startswith(("listening on ", "open http")):
                line = self.line()
            assert line == text, f"{self.name} says {line!r}"

    def type(self, line):
        self.popen.stdin.write(f"{line}\n".encode())
        self.popen.stdin.flush()

    def is_ready(self):
        """Waits until a server says where it listens."""
        line = self.line()
        found = re.fullmatch(r"listening on (wss?)://((\S+):(\d+))", line or "")
        assert found, f"{self.name}'s first line is {line!r}, not `listening on …`: {self.complaint()}"
        self.scheme, self.address, self.port = found[1], found[2], int(found[4])
        self.page = f"{self.scheme.replace('ws', 'http')}://{self.address}/"
        return self

    def url(self, host="localhost"):
        return f"{self.scheme}://{host}:{self.port}"

    def ended(self):
        return self.popen.poll() is not None

    def end(self, limit=PATIENCE):
        """Its exit status; None if it does not end in time. Nothing of its group is left."""
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(limit)
        status = self.popen.returncode
        self.kill()
        return status

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
        atexit.unregister(self.kill)

    def freeze(self):
        """Stops it as it is, and waits until it stands still: a moment ago some of its threads still ran."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.popen.pid, os.WSTOPPED)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def signal(self, number):
        """To its whole group."""
        with suppress(ProcessLookupError, PermissionError):  # the group is gone
            os.killpg(self.popen.pid, number)
