"""Which pages a server lets in, as three browsers see it."""

import pytest
from pages.browsers import used

# Tries it itself, and from such a frame as any site can have, whose origin is `null`.
TRY = """
    const connect = `const socket = new WebSocket("${arguments[0]}");
        socket.onopen = () => told("let in");
        socket.onerror = () => told("refused");`;
    const itself = new Promise((told) => eval(connect));
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    frame.srcdoc = `<script>const told = (word) => parent.postMessage(word, "*"); ${connect}<\\/script>`;
    const framed = new Promise((done) => { onmessage = ({ data }) => done(data); });
    document.body.append(frame);
    return [await itself, await framed];
"""


@pytest.mark.parametrize("name", ["hello", "time", "counter"])
def test_a_page_from_the_listen_address_is_allowed(browser, program, name):
    used(name, browser.open(program(f"{name}-server", "127.0.0.2:0").page))


def test_a_page_by_another_address_of_the_machine_is_let_in(browser, program):
    server = program("counter-server", "0.0.0.0:0")
    used("counter", browser.open(f"http://127.0.0.3:{server.port}/"))


@pytest.mark.parametrize("name, itself, framed, allowed", [
    ("hello", "refused", "refused", None), ("time", "refused", "let in", None), ("counter", "refused", "let in", None),
    ("counter", "let in", "refused", "its own"), ("counter", "refused", "refused", "https://elsewhere.example")])
def test_foreign_pages_and_sandboxed_frames_need_allow_origin(
        browser, program, foreign, name, itself, framed, allowed):
    browser.expected = "403"
    flags = ["--allow-origin", foreign.rstrip("/") if allowed == "its own" else allowed] if allowed else []
    server = program(f"{name}-server", None, *flags)
    assert browser.open(foreign).wait_for(TRY, f"ws://{server.address}/") == [itself, framed]
