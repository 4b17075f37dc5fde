"""Which pages a server lets in, as three browsers see it."""

import re

import pytest


@pytest.mark.parametrize("name", ["hello", "time", "counter"])
def test_a_page_by_the_address_that_the_server_was_told_to_listen_on_is_let_in(browser, program, name):
    enter(browser.open(program(f"{name}-server", "127.0.0.2:0").page), name)


def test_a_page_by_another_address_of_the_machine_is_let_in(browser, program):
    server = program("counter-server", "0.0.0.0:0")
    enter(browser.open(f"http://127.0.0.3:{server.port}/"), "counter")


def enter(tab, name):
    if name == "hello":
        tab.greet("Ada")
        tab.shows(".greeting", "Hello Ada!")
    else:
        tab.connected()


# Any site can have such a frame, and its origin is `null`.
FRAME = """
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    frame.srcdoc = `<script>
        const socket = new WebSocket("${arguments[0]}");
        socket.onopen = () => parent.postMessage("let in", "*");
        socket.onerror = () => parent.postMessage("refused", "*");
    <\\/script>`;
    const told = new Promise((done) => { onmessage = ({ data }) => done(data); });
    document.body.append(frame);
    return told;
"""


@pytest.mark.parametrize("name, verdict", [("hello", "refused"), ("time", "let in"), ("counter", "let in")])
def test_a_sandboxed_frame_of_a_foreign_page_gets_only_where_a_file_must(browser, program, foreign, name, verdict):
    browser.expected = "403"
    server = program(f"{name}-server")
    tab = browser.open(foreign)
    assert tab.wait_for(FRAME, f"ws://{server.address}/") == verdict


def test_who_allows_an_origin_allows_no_other(browser, program, foreign):
    browser.expected = "403"
    for origin, verdict in [(foreign.rstrip("/"), "let in"), ("https://elsewhere.example", "refused")]:
        server = program("counter-server", "127.0.0.1:0", "--allow-origin", origin)
        tab = browser.open(foreign)
        assert tab.wait_for("""
            const socket = new WebSocket(arguments[0]);
            return new Promise((done) => { socket.onopen = () => done("let in"); socket.onerror = () => done("refused"); });
        """, f"ws://{server.address}/") == verdict
        assert tab.wait_for(FRAME, f"ws://{server.address}/") == "refused"
