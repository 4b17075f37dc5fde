"""Other libraries' clients and servers: the programs in clients/ and servers/, which are told by
lines on stdin what to do and tell on stdout what they meet with."""

import itertools
import json
import sys
import time
from pathlib import Path

import pytest

pytest.register_assert_rewrite("programs")
from programs import ENVIRONMENT, PATIENCE, ROOT, Program  # noqa: E402

HERE = Path(__file__).parent
NODE = {"NODE_PATH": str(ROOT / "target/node/node_modules")}
LEGACY = ROOT / "target/venv-legacy/bin/python"  # the last websockets with the original implementation


class Client(Program):
    def order(self, **command):
        self.type(json.dumps(command))

    def event(self, kind, skipping=()):
        """The next thing it met with, which has to be of this kind."""
        while True:
            line = self.line()
            assert line, f"{self.name} meets with {kind!r} within {PATIENCE} s"
            event = json.loads(line)
            if kind in event:
                return event[kind]
            # A ping of the server may come at any time; only one client tells of it.
            assert event.keys() & {"ping", *skipping}, f"{self.name} meets with {kind!r}"

    def receives(self, *expected):
        """The next text messages, JSON of just these members in just this order."""
        for event in expected:
            message = json.loads(self.event("text"))
            assert list(message.items()) == list(event.items())

    def meets_nothing(self, seconds):
        """Stays as it is for so long, pings aside."""
        end = time.monotonic() + seconds
        while line := self.line(end - time.monotonic()):
            assert "ping" in json.loads(line)
        assert not self.ended()

    def closes(self):
        self.order(close=True)
        self.sees_close(1000)

    def sees_close(self, code, skipping=()):
        assert self.event("closed", skipping) == code


class Library:
    """Somebody else's library: the programs that are written on it."""

    def __init__(self, name, interpreter, client, server=None, environment=()):
        self.name, self.interpreter = name, interpreter
        self.client, self.server = client, server
        self.environment = ENVIRONMENT | dict(environment)

    def bind(self, start):
        self.start = start
        return self

    def attempt(self, url, *flags):
        command = [self.interpreter, HERE / "clients" / self.client, url, *flags]
        return self.start(*command, kind=Client, name=self.name, environment=self.environment)

    def connect(self, url, *flags):
        """A client that is connected."""
        client = self.attempt(url, *flags)
        client.event("open")
        return client

    def serve(self, *flags):
        """A hello server."""
        command = [self.interpreter, HERE / "servers" / self.server, *flags]
        return self.start(*command, name=self.name, environment=self.environment).is_ready()


NEWEST = Library("websockets", sys.executable, "asyncio_client.py", "hello.py")
THREADS = Library("websockets-threads", sys.executable, "sync_client.py")
ORIGINAL = Library("websockets-legacy", LEGACY, "asyncio_client.py", "hello.py")
WS = Library("ws", "node", "node_client.cjs", "hello.cjs", NODE)
ALL = [NEWEST, THREADS, ORIGINAL, WS]


def pytest_generate_tests(metafunc):
    """`library` is each in turn, or those that the mark `only` names; `several` is each two of
    them, then all."""

    def parametrize(name, groups):
        ids = ["+".join(library.name for library in group) for group in groups]
        metafunc.parametrize(name, groups, ids=ids, indirect=True)

    if "library" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("only")
        parametrize("library", [[one] for one in ALL if not only or one.name in only.args])
    if "several" in metafunc.fixturenames:
        parametrize("several", [*itertools.combinations(ALL, 2), ALL])


@pytest.fixture
def library(request, start):
    return request.param[0].bind(start)


@pytest.fixture
def several(request, start):
    return [library.bind(start) for library in request.param]


@pytest.fixture
def everyone(start):
    return [library.bind(start) for library in ALL]
