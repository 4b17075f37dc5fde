"""Our servers with the clients of other libraries."""

import datetime
import itertools
import json
import re

import pytest

NAMES = {"localhost": "Ada", "127.0.0.1": "Zoë Łukasz 世界 🦀", "LocalHost": ""}

OFFERS = [
    {},
    {"client_max_window_bits": True},
    {"server_no_context_takeover": True, "client_no_context_takeover": True},
    {"server_max_window_bits": 9},
    {"server_max_window_bits": 15, "client_max_window_bits": 9},
]


def converse(client, server, name):
    """The conversation of the hello demo, with a ping before, and how it ends."""
    client.order(ping=True)
    client.event("pong")
    client.order(text=name)
    assert client.event("text") == f"Hello {name}!"
    assert client.event("closed") == 1000
    server.says(f"< {name}", f"> Hello {name}!")


def users(count):
    return {"type": "users", "count": count}


def state(value):
    return {"type": "state", "value": value}


def test_hello_server_greets_and_closes_with_1000(serve, library):
    server = serve("hello-server")
    for host, name in NAMES.items():
        converse(library.connect(server.url(host)), server, name)


def test_wss_server_greets_who_trusts_its_certificate_alone(serve, library, certificates):
    used, other = certificates
    server = serve("wss-server")
    for flags in ([], ["--ca", other]):
        assert re.search("certificate|CERT", library.attempt(server.url(), *flags).event("failed"))
    for host, name in NAMES.items():
        converse(library.connect(server.url(host), "--ca", used), server, name)


def test_time_server_sends_the_time_and_answers_pings(serve, library):
    client = library.connect(serve("time-server").url())
    for _ in range(2):
        off = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(client.event("text"))
        assert abs(off) < datetime.timedelta(seconds=60)
    client.order(ping=True)
    client.event("pong", skipping="text")
    client.order(close=True)
    assert client.event("closed", skipping="text") == 1000


def test_counter_server_accepts_text_and_binary_clicks(serve, library):
    url = serve("counter-server").url()
    bystander = library.connect(url)
    bystander.receives(users(1), state(0))
    client = library.connect(url)
    client.receives(users(2), state(0))
    bystander.receives(users(2))
    steps = [("text", "plus", 1), ("binary", "plus", 2), ("text", "minus", 1), ("binary", "minus", 0), ("text", "minus", -1)]
    for kind, action, value in steps:
        client.order(**{kind: f'{{"action": "{action}", "by": "{library.name}"}}'})
        client.receives(state(value))
    for kind, event in [("text", "not json"), ("text", '{"action":"jump"}'), ("binary", "[]")]:
        client.order(**{kind: event})
        answer = json.loads(client.event("text"))
        assert list(answer) == ["type", "message"]
        assert answer["type"] == "error" and answer["message"]
    client.closes()
    # All that the other one has noticed:
    bystander.receives(*(state(value) for _, _, value in steps), users(1))


def test_all_libraries_receive_the_same_values_in_order(serve, everyone):
    server = serve("counter-server")
    clients = []
    for library in everyone:
        clients.append(library.connect(server.url()))
        for client in clients:
            client.receives(users(len(clients)))
        clients[-1].receives(state(0))

    clicks = ["plus", "plus", "minus", "plus", "minus", "plus", "plus"]
    for client in clients:
        for action in clicks:
            client.order(text=f'{{"action":"{action}"}}')
    first, *others = [
        [json.loads(client.event("text"))["value"] for _ in range(len(clicks) * len(clients))] for client in clients
    ]
    assert all(values == first for values in others)
    assert all(abs(after - before) == 1 for before, after in itertools.pairwise([0, *first]))
    assert first[-1] == 3 * len(clients)

    while clients:
        clients.pop().closes()
        for client in clients:
            client.receives(users(len(clients)))


@pytest.mark.parametrize("offer", OFFERS, ids=str)
def test_messages_are_compressed_after_any_offer(serve, library, offer):
    server = serve("hello-server", "--compression", "deflate")
    for name in ["Ada", "Zoë Łukasz 世界 🦀 " * 100 + "."]:
        client = library.attempt(server.url("127.0.0.1"), "--deflate", json.dumps(offer))
        assert client.event("open") == ["permessage-deflate"]
        converse(client, server, name)


def test_hello_server_s_pings_are_answered(serve, library, idle):
    server = serve("hello-server", "--ping-interval", "0.3", "--ping-timeout", "3")
    client = library.connect(server.url())
    idle(client)
    converse(client, server, "Ada")


@pytest.mark.parametrize("name", ["hello-server", "wss-server", "time-server", "counter-server"])
def test_all_libraries_are_closed_with_1001_at_sigterm(serve, everyone, certificates, name):
    server = serve(name)
    trust = ["--ca", certificates[0]] if name == "wss-server" else []
    clients = [library.connect(server.url("127.0.0.1"), *trust) for library in everyone]
    assert server.stop() == 0
    for client in clients:
        assert client.event("closed", skipping="text") == 1001
