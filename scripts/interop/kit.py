"""What the checks are made of: child processes that cannot outlive their check, and waits
that cannot last for ever."""

import asyncio
import contextlib
import json
import os
import re
import signal
import tempfile
from pathlib import Path

PATIENCE = 10  # seconds for any one thing that another program is waited for

# Loopback needs no proxy, and no Python here is to leave compiled files in the source tree.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
} | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1", "RUST_LOG": "info"}


class Wrong(Exception):
    """What was seen is not what should have been seen; the message says both."""


def equal(what, seen, expected):
    if seen != expected:
        raise Wrong(f"{what} is {seen!r}, not {expected!r}")


async def patiently(waiting, what):
    try:
        return await asyncio.wait_for(waiting, PATIENCE)
    except asyncio.TimeoutError:
        raise Wrong(f"{what} within {PATIENCE} s") from None


class Child:
    """A running program."""

    def __init__(self, name, process, log):
        self.name = name
        self.process = process
        self.log = log  # the file that takes its stderr

    async def line(self):
        """The next line of its stdout."""
        raw = await patiently(self.process.stdout.readline(), f"{self.name} printed no line")
        if not raw.endswith(b"\n"):
            raise Wrong(f"{self.name} ended its output with {raw!r} instead of a line")
        return raw.decode()[:-1]

    async def says(self, *expected):
        """Its next lines, without those that only tell where it can be reached."""
        for text in expected:
            line = await self.line()
            while line.startswith(("listening on ", "open http")):
                line = await self.line()
            equal(f"{self.name}'s line", line, text)

    async def prompts(self, prompt):
        """The prompt, which is no whole line."""
        reading = self.process.stdout.readexactly(len(prompt.encode()))
        try:
            seen = await patiently(reading, f"{self.name} did not ask {prompt!r}")
        except asyncio.IncompleteReadError as end:
            seen = end.partial
        equal(f"{self.name}'s prompt", seen.decode(), prompt)

    def type(self, line):
        self.process.stdin.write(f"{line}\n".encode())

    async def stays(self, seconds):
        """Does not end for so long."""
        try:
            status = await asyncio.wait_for(self.process.wait(), seconds)
        except asyncio.TimeoutError:
            return
        raise Wrong(f"{self.name} ended with {status}")

    async def rest(self):
        """What else it prints on stdout, and its exit status."""
        output = await patiently(self.process.stdout.read(), f"{self.name} did not end")
        status = await patiently(self.process.wait(), f"{self.name} did not end")
        return output.decode(), status

    def signal(self, number):
        """Send it a signal, unless it has ended.

        Popen's own way looks first whether the child has ended, and then takes the exit
        status away from asyncio, which reports 255 instead.
        """
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def complaint(self):
        """What it wrote on stderr."""
        return self.log.read_text(errors="replace").strip()


class Server(Child):
    """A program that says where it listens."""

    async def ready(self):
        line = await self.line()
        found = re.fullmatch(r"listening on (wss?)://(\S+):(\d+)", line)
        if not found:
            raise Wrong(f"{self.name}'s first line is {line!r}, not `listening on …`")
        self.scheme, self.port = found[1], found[3]

    def url(self, host):
        return f"{self.scheme}://{host}:{self.port}"

    async def shuts_down(self):
        self.signal(signal.SIGTERM)
        status = await patiently(self.process.wait(), f"{self.name} did not end at SIGTERM")
        equal(f"{self.name}'s exit status", status, 0)


class Client(Child):
    """One of the programs in clients/, on the library `self.name`."""

    def order(self, **command):
        self.type(json.dumps(command))

    async def event(self, kind, skipping=()):
        """The next thing it met with, which has to be of this kind."""
        event = json.loads(await self.line())
        while kind not in event:
            # A ping of the server may come at any time; only one client tells of it.
            if not event.keys() & {"ping", *skipping}:
                raise Wrong(f"{self.name} met with {event}, not {kind!r}")
            event = json.loads(await self.line())
        return event[kind]

    async def receives(self, *expected):
        """The next text messages, JSON of just these members in just this order."""
        for event in expected:
            message = json.loads(await self.event("text"))
            equal(f"{self.name}'s message", list(message.items()), list(event.items()))

    async def meets_nothing(self, seconds):
        """Stays as it is for so long, pings aside."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            try:
                event = await asyncio.wait_for(self.line(), end - loop.time())
            except asyncio.TimeoutError:
                return
            if "ping" not in json.loads(event):
                raise Wrong(f"{self.name} met with {event}")

    async def closes(self):
        self.order(close=True)
        await self.sees_close(1000)

    async def sees_close(self, code, skipping=()):
        equal(f"the close code {self.name} sees", await self.event("closed", skipping), code)


class Case:
    """Programs that are started for one purpose, and are ended with it."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="interop-")
        self.children = []

    @property
    def scratch(self):
        return Path(self.folder.name)

    async def start(self, kind, name, *words, environment=()):
        log = self.scratch / f"stderr-{len(self.children)}"
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *map(str, words), env=ENVIRONMENT | dict(environment), cwd=self.scratch,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=stderr,
            )
        child = kind(name, process, log)
        self.children.append(child)
        return child

    def complaints(self):
        """The last that each program wrote on stderr, to explain a failure."""
        for child in self.children:
            for line in child.complaint().splitlines()[-8:]:
                yield f"{child.name}: {line}"

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        for child in self.children:
            child.signal(signal.SIGKILL)
            child.process.stdin.close()
        for child in self.children:
            await child.process.communicate()
        self.folder.cleanup()


async def check(sentence, body):
    """Run one check; True if it passed, and what there is to print about it."""
    async with Case() as case:
        try:
            await asyncio.wait_for(body(case), 6 * PATIENCE)
            return True, [f"ok - {sentence}"]
        except Exception as error:
            why = str(error) if isinstance(error, Wrong) else f"{type(error).__name__} {error}"
            complaints = [f"    {line}" for line in case.complaints()]
            return False, [f"not ok - {sentence}: {why}", *complaints]
