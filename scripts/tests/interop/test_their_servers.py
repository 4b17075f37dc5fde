"""Our clients with the servers of other libraries."""

import json

import pytest

NAMES = {"localhost": "Ada", "127.0.0.1": "Zoë Łukasz 世界 🦀", "LocalHost": ""}
SAYS = {"hello-client": "What's your name? > {0}\n< Hello {0}!\n", "talk": "< Hello {0}!\n"}
SAYS["wss-client"] = SAYS["hello-client"]

PARAMETERS = [
    {},
    {"server_no_context_takeover": True, "client_no_context_takeover": True},
    {"server_max_window_bits": 9},
    {"client_max_window_bits": 9},
]


def only(*names):
    return pytest.mark.parametrize("library", names, indirect=True)


def visit(client, server, name):
    """Runs one of our clients to its end, as someone at the keyboard would."""
    client.type(name)
    client.popen.stdin.close()
    assert client.rest() == (SAYS[client.name].format(name), 0)
    server.says(f"< {name}", f"> Hello {name}!", "closed 1000")


@pytest.mark.parametrize("name", SAYS)
# Who closes: the server, or the client when it has what it came for.
@pytest.mark.parametrize("flags", [[], ["--linger"]], ids=["server-closes", "client-closes"])
@only("websockets", "websockets-legacy", "ws")
def test_our_client_is_greeted(start, binaries, library, certificates, flags, name):
    tls, trust = ([], []) if name != "wss-client" else (["--tls", certificates[0]], ["--ca", certificates[0]])
    server = library.serve(*tls, *flags)
    for host, typed in NAMES.items():
        client = start(binaries[name], server.url(host), *trust)
        visit(client, server, typed)
        who = "closed" if flags else "closed by the server"
        assert client.complaint() == (f"{who}: 1000, OK" if name == "talk" else "")


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
@only("websockets", "websockets-legacy", "ws")
def test_talk_reads_and_writes_what_is_compressed(start, binaries, library, parameters):
    server = library.serve("--deflate", json.dumps(parameters))
    visit(start(binaries["talk"], server.url("127.0.0.1")), server, "Zoë Łukasz 世界 🦀 " * 100 + ".")


@only("websockets", "websockets-legacy", "ws")
def test_wss_client_refuses_a_server_without_its_certificate(start, binaries, library, certificates):
    used, other = certificates
    server = library.serve("--tls", used)
    for flags in (["--ca", other], ["--system-roots"]):
        client = start(binaries["wss-client"], server.url(), *flags)
        assert client.rest() == ("", 1), "it asks for no name"
        assert len(client.complaint().splitlines()) == 1


@pytest.mark.parametrize("name", ["hello-client", "talk"])
@only("websockets", "websockets-legacy")  # ws has no keepalive of its own
def test_our_client_answers_pings_while_nobody_types(start, binaries, library, idle, name):
    server = library.serve("--impatient")
    client = start(binaries[name], server.url())
    idle(client)
    visit(client, server, "Ada")
