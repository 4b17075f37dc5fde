"""Our clients with the servers of other libraries."""

import subprocess

import pytest

NAMES = ["Ada", "Zoë Łukasz 世界 🦀", ""]
pytestmark = pytest.mark.only("websockets", "websockets-legacy", "ws")
# Who closes: the server, or the client when it has what it came for.
closing = pytest.mark.parametrize("flags", [[], ["--linger"]], ids=["server-closes", "client-closes"])


def visit(client, server, name):
    """Runs one of our clients to its end, as someone at the keyboard would."""
    client.prompts("What's your name? ")
    client.type(name)
    assert client.rest() == (f"> {name}\n< Hello {name}!\n", 0)
    server.says(f"< {name}", f"> Hello {name}!", "closed 1000")


@closing
def test_hello_client_is_greeted(start, binaries, library, flags):
    server = library.serve(*flags)
    for name in NAMES:
        visit(start(binaries["hello-client"], server.url()), server, name)


@closing
def test_wss_client_is_greeted(start, binaries, library, certificate, flags):
    server = library.serve("--tls", certificate, *flags)
    for name, host in zip(NAMES, ["localhost", "127.0.0.1", "localhost"]):
        visit(start(binaries["wss-client"], server.url(host), "--ca", certificate), server, name)


def test_wss_client_refuses_a_server_without_its_certificate(start, binaries, library, certificates):
    used, other = certificates
    server = library.serve("--tls", used)
    for flags in (["--ca", other], ["--system-roots"]):
        client = start(binaries["wss-client"], server.url(), *flags)
        assert client.rest() == ("", 1), "it asks for no name"
        assert len(client.complaint().splitlines()) == 1


@pytest.mark.only("websockets", "websockets-legacy")  # ws has no keepalive of its own
def test_hello_client_answers_pings_at_its_prompt(start, binaries, library):
    server = library.serve("--impatient")
    client = start(binaries["hello-client"], server.url())
    with pytest.raises(subprocess.TimeoutExpired):
        client.popen.wait(2)
    visit(client, server, "Ada")
