"""Our servers with the clients of other libraries."""

import datetime
import itertools
import json
import re
import shutil
import time

import pytest
from programs import ENVIRONMENT

NAMES = ["Ada", "Zoë Łukasz 世界 🦀", ""]
KEEPALIVE = ["--ping-interval", "0.3", "--ping-timeout", "1"]


def converse(client, server, name):
    """The conversation of the hello demo, and how it ends."""
    client.order(text=name)
    assert client.event("text") == f"Hello {name}!"
    client.sees_close(1000)
    server.says(f"< {name}", f"> Hello {name}!")


def users(count):
    return {"type": "users", "count": count}


def state(value):
    return {"type": "state", "value": value}


def test_hello_server_greets_and_closes_with_1000(serve, library):
    server = serve("hello-server")
    for name in NAMES:
        converse(library.connect(server.url()), server, name)


def test_wss_server_greets_who_trusts_its_certificate_alone(serve, library, certificate):
    server = serve("wss-server")
    for name, host in zip(NAMES, ["localhost", "127.0.0.1", "localhost"]):
        converse(library.connect(server.url(host), "--ca", certificate), server, name)


def test_wss_server_is_refused_without_that_certificate(serve, library, certificates):
    used, other = certificates
    server = serve("wss-server")
    for flags in ([], ["--ca", other]):
        client = library.attempt(server.url(), *flags)
        assert re.search("certificate|CERT", client.event("failed"))
    # And the server has not suffered.
    converse(library.connect(server.url(), "--ca", used), server, "Ada")


def test_time_server_tells_the_time_at_once_and_again(serve, library):
    server = serve("time-server")
    client = library.connect(server.url("127.0.0.1"))
    opened = time.monotonic()
    for number in range(3):
        text = client.event("text")
        assert number or time.monotonic() - opened < 1, "the first time comes at once"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text, re.ASCII)
        off = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(text)
        assert abs(off) < datetime.timedelta(seconds=5)
    client.closes()


def test_counter_server_counts_clicks_as_text_and_as_binary(serve, library):
    server = serve("counter-server")
    client = library.connect(server.url())
    client.receives(users(1), state(0))
    steps = [("plus", 1), ("plus", 2), ("minus", 1), ("minus", 0), ("minus", -1)]
    for kind in ("text", "binary"):
        for action, value in steps:
            client.order(**{kind: f'{{"action": "{action}", "by": "{library.name}"}}'})
            client.receives(state(value))
        client.order(text='{"action":"plus"}')
        client.receives(state(0))
    client.closes()


def test_counter_server_tells_of_a_bad_event_and_only_its_sender(serve, library):
    server = serve("counter-server")
    bystander = library.connect(server.url())
    bystander.receives(users(1), state(0))
    client = library.connect(server.url())
    client.receives(users(2), state(0))
    for kind, event in [("text", "not json"), ("text", '{"action":"jump"}'), ("binary", "[]")]:
        client.order(**{kind: event})
        answer = json.loads(client.event("text"))
        assert list(answer) == ["type", "message"]
        assert answer["type"] == "error"
        assert isinstance(answer["message"], str) and answer["message"]
    client.order(text='{"action":"plus"}')
    client.receives(state(1))
    # All that the other one has noticed:
    bystander.receives(users(2), state(1))


def test_counter_server_shows_several_libraries_the_same_in_the_same_order(serve, several):
    server = serve("counter-server")
    clients = []
    for library in several:
        clients.append(library.connect(server.url()))
        for client in clients:
            client.receives(users(len(clients)))
        clients[-1].receives(state(0))

    clicks = ["plus", "plus", "minus", "plus", "minus", "plus", "plus"]
    for client in clients:
        for action in clicks:
            client.order(text=f'{{"action":"{action}"}}')
    seen = []
    for client in clients:
        texts = [client.event("text") for _ in range(len(clicks) * len(clients))]
        seen.append([json.loads(text)["value"] for text in texts])
    assert all(values == seen[0] for values in seen)
    assert all(abs(after - before) == 1 for before, after in itertools.pairwise([0, *seen[0]]))
    assert seen[0][-1] == 3 * len(clients)

    while clients:
        clients.pop().closes()
        for client in clients:
            client.receives(users(len(clients)))


@pytest.mark.parametrize("name", ["hello-server", "time-server"])
def test_a_ping_is_answered(serve, library, name):
    client = library.connect(serve(name).url("127.0.0.1"))
    client.order(ping=True)
    client.event("pong", skipping=["text"])


def test_hello_server_s_pings_are_answered(serve, library):
    server = serve("hello-server", *KEEPALIVE)
    client = library.connect(server.url())
    client.meets_nothing(2)
    converse(client, server, "Ada")


@pytest.mark.only("ws")  # the one that can tell of pings and leave them unanswered
def test_hello_server_closes_with_1011_who_answers_no_ping(serve, library):
    client = library.connect(serve("hello-server", *KEEPALIVE).url(), "--mute")
    client.event("ping")
    client.sees_close(1011)


@pytest.mark.parametrize("name", ["hello-server", "wss-server", "time-server", "counter-server"])
def test_all_libraries_are_closed_with_1001_at_sigterm(serve, everyone, certificate, name):
    server = serve(name)
    trust = ["--ca", certificate] if name == "wss-server" else []
    clients = [library.connect(server.url("127.0.0.1"), *trust) for library in everyone]
    assert server.stop() == 0
    for client in clients:
        client.sees_close(1001, skipping=["text"])


if shutil.which("websocat"):  # cargo install websocat

    @pytest.mark.parametrize("name", ["hello-server", "wss-server"])
    def test_websocat_is_greeted(serve, start, certificate, name):
        server = serve(name)
        for typed in filter(None, NAMES):  # websocat sends no empty message
            client = start(
                "websocat", "--exit-on-eof", "--linemode-strip-newlines", server.url(),
                environment=ENVIRONMENT | {"SSL_CERT_FILE": str(certificate)},
            )
            client.type(typed)
            client.says(f"Hello {typed}!")
            server.says(f"< {typed}", f"> Hello {typed}!")
            assert client.end() == 0
