"""Other libraries' clients and servers: the programs in clients/ and servers/, which are told by
lines on stdin what to do and tell on stdout what they meet with."""

import json
import sys
import time
from pathlib import Path

import pytest

pytest.register_assert_rewrite("programs")
from programs import ENVIRONMENT, ROOT, Program  # noqa: E402

HERE = Path(__file__).parent
LEGACY = ROOT / "target/venv-legacy/bin/python"  # the last websockets with the original implementation
LIBRARIES = {  # what runs its programs, its client, its hello server
    "websockets": (sys.executable, ["python_client.py"], "hello.py"),
    "websockets-threads": (sys.executable, ["python_client.py", "--threads"], None),
    "websockets-legacy": (LEGACY, ["python_client.py"], "hello.py"),
    "ws": ("node", ["node_client.cjs"], "hello.cjs"),
}


class Client(Program):
    def order(self, **command):
        self.type(json.dumps(command))

    def event(self, kind, skipping=None):
        """The next thing it met with, which has to be of this kind."""
        while True:
            line = self.line()
            assert line, f"{self.name} meets with {kind!r}"
            event = json.loads(line)
            if kind in event:
                return event[kind]
            assert skipping in event, f"{self.name} meets with {kind!r}"

    def receives(self, *expected):
        """The next text messages, JSON of just these members in just this order."""
        for event in expected:
            message = json.loads(self.event("text"))
            assert list(message.items()) == list(event.items())

    def closes(self):
        self.order(close=True)
        assert self.event("closed") == 1000


class Library:
    """Somebody else's library: the programs that are written on it."""

    def __init__(self, name, start):
        self.name, self.start = name, start
        self.interpreter, self.client, self.server = LIBRARIES[name]
        self.options = {"name": name, "environment": ENVIRONMENT | {"NODE_PATH": ROOT / "target/node/node_modules"}}

    def attempt(self, url, *flags):
        program, *more = self.client
        return self.start(self.interpreter, HERE / "clients" / program, url, *more, *flags, kind=Client, **self.options)

    def connect(self, url, *flags):
        """A client that is connected."""
        client = self.attempt(url, *flags)
        client.event("open")
        return client

    def serve(self, *flags):
        """A hello server."""
        return self.start(self.interpreter, HERE / "servers" / self.server, *flags, **self.options).is_ready()


@pytest.fixture(params=LIBRARIES)
def library(request, start):
    return Library(request.param, start)


@pytest.fixture
def everyone(start):
    return [Library(name, start) for name in LIBRARIES]


@pytest.fixture
def serve(program):
    return lambda name, *flags: program(name, "localhost:0", *flags)


@pytest.fixture
def idle():
    """Waits until a keepalive of 0.3 + 3 s would have given up who answers no ping."""
    def idle(program):
        time.sleep(4)
        assert not program.ended()

    return idle
