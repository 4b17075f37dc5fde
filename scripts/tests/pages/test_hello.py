"""web/hello.html in three browsers, over ws and over wss."""

import base64
import hashlib
import re
import socket as sockets
import subprocess

import pytest
from pages.browsers import MARKUP, until
from programs import ROOT
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.keys import Keys

GREETED = "Greeted, then closed with code 1000"


@pytest.fixture
def server(program):
    return program("hello-server", None, "--max-size", "1000")


@pytest.fixture
def tab(browser, server):
    return browser.open(server.page)


def test_the_chapters_console_lines_are_greeted(tab, server):
    chapter = (ROOT / "crates/hello-server/README.md").read_text()
    lines = re.search(r"```js\n(.*?)```", chapter, re.S)[1].replace("ws://localhost:8765/", f"ws://{server.address}/")
    printed = tab.wait_for(
        "return new Promise((done) => { const printed = []; const console = { log: (...parts) => {"
        'if (printed.push(parts.join(" ")) === 2) done(printed); } };' + lines + "});"
    )
    assert printed == ["Hello Ada!", "closed with code 1000"]


def is_greeted(tab, name):
    tab.greet(name)
    tab.shows(".greeting", f"Hello {name}!")
    tab.shows(".status", GREETED)


def test_names_of_markup_or_symbols_are_greeted(tab, server):
    tab.shows(".status", "Ready")
    for name in ("Ada", "", "Zoë 你好 👋🏽", "  two  spaces ", MARKUP, "x" * 500):
        is_greeted(tab, name)
    tab.has_no_markup()
    assert server.until(lambda: b"< Ada\n> Hello Ada!\n" in server.printed)


def test_the_keyboard_is_enough_also_to_scroll_a_long_greeting(tab, server):
    # The input has the focus from the start, but that is from the first frame that is drawn.
    until("the focus", lambda: tab.run("return document.activeElement.id"), "name")
    tab.press("Enter", Keys.ENTER)
    tab.shows(".greeting", "Hello Enter!")
    tab.shows(".status", GREETED)
    tab.press(Keys.TAB)
    tab.press(Keys.SPACE)
    assert server.until(lambda: server.printed.count(b"< Enter\n") == 2)
    is_greeted(tab, "x" * 1000)
    end = "return document.querySelector('.greeting').getBoundingClientRect().bottom - innerHeight"
    assert tab.run(end) > 200, "it is longer than the window"

    def below():
        tab.press(Keys.PAGE_DOWN)
        return tab.run(end)

    until("what is below the window of it", below, lambda below: below < 1)


def test_a_page_without_server_retries_and_greets_later(tab, server, program):
    server.kill()
    tab.greet("Patience")
    tab.finds_nobody(server.address)
    tab.run("document.querySelector('input').value = 'someone else'")
    program("hello-server", server.address)
    tab.shows(".greeting", "Hello Patience!")
    tab.shows(".notice", "")


def test_an_oversized_name_closes_with_1009_without_retry(tab):
    tab.greet("x" * 1001)
    tab.shows(".status", re.compile("^The server refused: code 1009 "))
    assert tab.text(".hint") == "", "it announces no other try"
    is_greeted(tab, "Ada")


def test_a_close_is_shown_with_its_reason(browser, fake):
    closes = [(1008, MARKUP), (1003, ""), (1000, "")]

    def talk(socket):
        socket.recv()
        socket.send(b"no text, so no greeting")
        socket.close(*closes.pop(0))

    tab = browser.open(fake("hello.html", talk).page)
    for wanted in (f"The server refused: code 1008 {MARKUP}", "The server refused: code 1003 ", "The server closed without a greeting"):
        tab.greet("Ada")
        tab.shows(".status", wanted)
        assert tab.text(".greeting") == ""
    tab.has_no_markup()


def test_a_server_that_ends_before_it_greeted_is_tried_again(browser, fake):
    ends = [lambda socket: socket.close(1001), lambda socket: socket.socket.shutdown(sockets.SHUT_RDWR), lambda socket: socket.close(1011)]

    def talk(socket):
        name = socket.recv()
        if ends:
            return ends.pop(0)(socket)
        for text in (f"Hello {name}!", "and more that was not asked for"):
            socket.send(text)
        socket.close(1000)

    tab = browser.open(fake("hello.html", talk).page)
    tab.greet("Ada")
    tab.shows(".status", "Connection lost")
    tab.shows(".greeting", "Hello Ada!")


def test_the_back_button_brings_back_what_was_greeted(tab, foreign):
    is_greeted(tab, "Ada")
    tab.open(foreign).at().back()
    tab.shows(".status", re.compile(f"^({GREETED}|Ready)$"))
    is_greeted(tab, "Grace")


def test_wss_works_only_with_the_trusted_certificate(browser, another_browser, program, certificates):
    used, other = certificates
    server = program("wss-server")
    browser.expected = "certificate|TLS|SSL"
    assert not lets_in(browser, server)

    # Chromium can be told to trust one key, the other drivers only all.
    def trust(certificate):
        if browser.engine != "chromium":
            return {"trusting": certificate == used}
        key = subprocess.run(f"openssl x509 -in {certificate} -noout -pubkey | openssl pkey -pubin -outform der",
                             shell=True, check=True, stdout=subprocess.PIPE).stdout
        return {"pin": base64.b64encode(hashlib.sha256(key).digest()).decode()}

    is_greeted(another_browser(**trust(used)).open(server.page), "Ada")
    assert server.until(lambda: b"< Ada\n" in server.printed)
    assert not lets_in(another_browser(**trust(other)), server)


def lets_in(browser, server):
    """Whether the browser shows the page: some drivers tell that it does not, some do not."""
    try:
        return browser.open(server.page).text("h1") == "Say hello"
    except WebDriverException as error:
        assert re.search("(?i)cert|TLS|SSL", repr(error))
        return False
