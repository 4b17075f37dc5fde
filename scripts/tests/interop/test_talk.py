"""talk with the servers of other libraries, and with ours."""

import json
import subprocess

import pytest

NAMES = ["Ada", "Zoë Łukasz 世界 🦀", ""]
theirs = pytest.mark.only("websockets", "websockets-legacy", "ws")


def talk(start, binaries, url, *lines, flags=()):
    """talk in a pipe that has ended: what it prints, and its exit status."""
    client = start(binaries["talk"], url, *flags)
    for line in lines:
        client.type(line)
    client.popen.stdin.close()
    printed, status = client.rest()
    return printed, status, client.complaint()


@theirs
@pytest.mark.parametrize("flags", [[], ["--linger"]], ids=["server-closes", "talk-closes"])
def test_it_is_greeted(start, binaries, library, flags):
    server = library.serve(*flags)
    for name in NAMES:
        said = "closed: 1000, OK" if flags else "closed by the server: 1000, OK"
        assert talk(start, binaries, server.url(), name) == (f"< Hello {name}!\n", 0, said)
        server.says(f"< {name}", f"> Hello {name}!", "closed 1000")


@pytest.mark.only("websockets", "websockets-legacy")  # ws has no keepalive of its own
def test_it_answers_pings(start, binaries, library):
    server = library.serve("--impatient")
    client = start(binaries["talk"], server.url())
    with pytest.raises(subprocess.TimeoutExpired):
        client.popen.wait(2)
    client.type("Ada")
    assert client.line() == "< Hello Ada!"


def test_it_is_greeted_by_hello_server(serve, start, binaries):
    server = serve("hello-server")
    said = "closed by the server: 1000, OK"
    assert talk(start, binaries, server.url(), "Ada") == ("< Hello Ada!\n", 0, said)


def test_it_clicks_and_is_told_of_junk_by_counter_server(serve, start, binaries):
    url = serve("counter-server").url()
    listening = start(binaries["talk"], url)
    listening.says('< {"type":"users","count":1}', '< {"type":"state","value":0}')
    printed, status, said = talk(start, binaries, url, '{"action":"plus"}')
    assert printed.splitlines() == [
        '< {"type":"users","count":2}', '< {"type":"state","value":0}', '< {"type":"state","value":1}',
    ]
    assert (status, said) == (0, "closed: 1000, OK")
    printed, status, _ = talk(start, binaries, url, "junk")
    last = json.loads(printed.splitlines()[-1].removeprefix("< "))
    assert (last["type"], status) == ("error", 0)
    listening.says(
        '< {"type":"users","count":2}', '< {"type":"state","value":1}', '< {"type":"users","count":1}',
        '< {"type":"users","count":2}', '< {"type":"users","count":1}',
    )


def test_it_prints_the_times_of_time_server(serve, start, binaries):
    client = start(binaries["talk"], serve("time-server").url("127.0.0.1"))
    for _ in range(2):
        assert client.line().endswith("Z")
    assert client.stop() == 0, "a signal closes cleanly"
    assert client.complaint() == "closed: 1000, OK"


def test_it_comes_back_to_a_server_that_was_killed(serve, start, binaries):
    server = serve("counter-server")
    client = start(binaries["talk"], server.url(), "--reconnect")
    client.says('< {"type":"users","count":1}', '< {"type":"state","value":0}')
    server.kill()
    start(binaries["counter-server"], f"localhost:{server.port}").is_ready()
    client.says('< {"type":"users","count":1}', '< {"type":"state","value":0}')
    assert "trying again in" in client.complaint()
