"""web/chat.html in three browsers."""

import base64
import hmac
import json
import re
import socket
import sqlite3
import subprocess
import threading
import time
from contextlib import closing, suppress

import pytest
from pages.browsers import MARKUP, until
from programs import free_port, wait
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.keys import Keys

REFUSED = re.compile(r"40[13]")  # A browser writes to its console what was refused.


class Link:
    """A port that leads to a server, until it is cut."""

    def __init__(self, port, own_port):
        self.server, self.up, self.pairs, self.sent, self.carried = port, True, [], b"", b""
        self.listener = socket.create_server(("127.0.0.1", own_port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                if not self.up:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.server))
                self.pairs += [near, far]
                for pair in [(near, far, True), (far, near)]:
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source, target, is_request=False):
        with suppress(OSError):
            while some := source.recv(1 << 16):
                self.carried += some
                self.sent += some if is_request else b""
                target.sendall(some)
            target.shutdown(socket.SHUT_WR)

    def cut(self):
        self.up = False
        for end in self.pairs:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def mend(self):
        self.up = True

    def close(self):
        self.cut()
        self.listener.close()


@pytest.fixture
def chat(program, binaries, tmp_path):
    """A chat server on a port of localhost, which says the link for a name, and starts again."""

    class Chat:
        def __init__(self):
            self.port, self.link_port = free_port(), free_port()
            self.start()

        def start(self):
            # Its own pages, by both names of this machine, and those that come through the link.
            hosts = [f"localhost:{self.port}", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.link_port}"]
            origins = [flag for host in hosts for flag in ("--allow-origin", f"http://{host}")]
            self.server = program("chat-server", hosts[0], "--data", tmp_path / "chat", *origins)

        def link(self, name, origin=None, room="lobby"):
            command = [binaries["chat-server"], "--data", tmp_path / "chat", "--invite", name, "--room", room]
            link = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()
            return link.replace("http://localhost:7890", origin or f"http://localhost:{self.server.port}")

        def sign(self, **token):
            """A token that this server accepts."""
            key, payload = (tmp_path / "chat/key").read_bytes(), json.dumps(token).encode()
            parts = (payload, hmac.digest(key, payload, "sha256"))
            return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)

        def restart(self):
            self.server.stop()
            self.start()

        def sql(self, *statements):
            with closing(sqlite3.connect(tmp_path / "chat/chat.db", isolation_level=None)) as database:
                for statement in statements:
                    database.execute(statement)

        def store(self, count, text="'old ' || value", start=None):
            """Puts messages of Eve into the database, as if she had posted them before the server started."""
            self.server.stop()
            start = start or time.time_ns() // 1_000_000
            self.sql(f"""INSERT INTO messages SELECT {start} + value, 'lobby', 'Eve', 'e' || ({start} + value), {text}, {start}
                FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {count})
                      SELECT value FROM n)""")
            self.start()

    return Chat()


@pytest.fixture
def link(chat):
    link = Link(chat.port, chat.link_port)
    yield link
    link.close()


def messages(tab):
    """Names and texts, as the reader sees them."""
    return tab.run("""return [...document.querySelectorAll(".messages li:not(.gap)")]
        .map((line) => `${line.querySelector(".name").textContent}: ${line.querySelector("p").textContent}`)""")


def post(tab, text):
    tab.run("document.querySelector('input').value = arguments[0]", text)
    tab.find("input").send_keys(Keys.ENTER)


def receives(tab, *lines):
    until("the messages", lambda: messages(tab), list(lines), 20)


def test_both_users_see_everything_after_a_lost_connection(browser, chat, link):
    ada = browser.open(chat.link("Ada")).connected()
    bob = browser.open(chat.link("Bob", f"http://127.0.0.1:{link.port}")).connected()
    ada.shows(".presence", "2 here: Ada, Bob")
    post(ada, "Hello Bob")
    receives(bob, "Ada: Hello Bob")
    post(bob, "Hello Ada")
    receives(ada, "Ada: Hello Bob", "Bob: Hello Ada")
    link.cut()
    bob.shows(".status", "Connection lost")
    ada.shows(".presence", "1 here: Ada")
    for text in ("Are you there?", "I cannot hear you"):
        post(bob, text)
    post(ada, "Bob is gone")
    assert bob.run("return document.querySelectorAll('.unsent li').length") == 2
    link.mend()
    everything = ["Ada: Hello Bob", "Bob: Hello Ada", "Ada: Bob is gone", "Bob: Are you there?", "Bob: I cannot hear you"]
    for tab in (ada, bob):
        receives(tab, *everything)
        assert tab.run("return document.querySelectorAll('.unsent li, .gap').length") == 0


def test_a_restart_loses_and_repeats_no_message(browser, chat):
    ada = browser.open(chat.link("Ada")).connected()
    post(ada, "before")
    receives(ada, "Ada: before")
    chat.server.kill()
    ada.shows(".status", "Connection lost")
    post(ada, "meanwhile")
    chat.restart()
    receives(ada, "Ada: before", "Ada: meanwhile")
    ada.connected(20)
    fresh = browser.open(chat.link("Ada"))
    receives(fresh, "Ada: before", "Ada: meanwhile")


def test_a_long_message_is_compressed(browser, chat, link):
    ada = browser.open(chat.link("Ada", f"http://127.0.0.1:{link.port}")).connected()
    ada.shows(".presence", "1 here: Ada")
    text = "to be or not to be " * 50 + "🦀"
    post(ada, text)
    receives(ada, f"Ada: {text}")
    # What the server sends is not masked, so this would be seen.
    assert b'"presence"' in link.carried and b"to be or not to be to be" not in link.carried


def test_why_the_server_closed_is_said_until_the_link_is_back(browser, chat):
    ada = browser.open(chat.link("Ada")).connected()
    chat.server.stop()
    ada.shows(".notice", re.compile("^The server closed the connection: .*shut"))
    chat.restart()
    ada.connected(20).shows(".notice", "")


def test_a_fast_sender_is_slowed_and_keeps_order(browser, chat):
    ada = browser.open(chat.link("Ada")).connected()
    for n in range(12):
        post(ada, f"{n}")
    receives(ada, *(f"Ada: {n}" for n in range(12)))
    assert ada.text(".notice") == ""


def test_the_newest_line_is_seen_unless_one_reads_older_ones(browser, chat):
    ada, bob = browser.open(chat.link("Ada")).connected(), browser.open(chat.link("Bob", f"http://127.0.0.1:{chat.server.port}")).connected()
    for n in range(15):
        post(ada, f"{n}")
    until("the lines", lambda: len(messages(bob)), 15, 20)
    below = "const view = document.querySelector('.messages'); return view.scrollHeight - view.scrollTop - view.clientHeight"
    until("what is below", lambda: bob.run(below), lambda pixels: pixels < 2)
    # A phone's keyboard comes while a scroll event is still under way.
    bob.run("""const view = document.querySelector('.messages');
        view.style.height = '150px';
        view.dispatchEvent(new Event('scroll'))""")
    until("what is below", lambda: bob.run(below), lambda pixels: pixels < 2)
    bob.run("document.querySelector('.messages').scrollTop = 100")
    bob.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    post(ada, "more")
    until("the lines", lambda: len(messages(bob)), 16, 20)
    assert bob.run("return document.querySelector('.messages').scrollTop") == 100


def test_markup_and_every_letter_stay_text(browser, chat):
    name = MARKUP[:32].strip()
    ada = browser.open(chat.link(name)).connected()
    strange = [MARKUP, "שלום \u202etxt.exe", "<script>window.pwned = true</script>", "👩‍👩‍👧‍👦 Zoë"]
    for text in strange:
        post(ada, text)
    receives(ada, *(f"{name}: {text}" for text in strange))
    ada.has_no_markup()


def test_the_token_moves_into_an_httponly_cookie(browser, chat):
    ada = browser.open(chat.link("Ada")).connected()
    assert ada.run("return location.href") == f"http://localhost:{chat.server.port}/rooms/lobby"
    assert "chat" not in ada.run("return document.cookie")
    ada.open(f"http://localhost:{chat.server.port}/rooms/lobby").connected()


def test_an_invitation_outlives_a_server_that_does_not_answer(browser, chat, link):
    browser.expected = REFUSED
    address = chat.link("Bob", f"http://127.0.0.1:{link.port}")
    bob = browser.open(address.partition("#")[0])
    bob.shows(".status", "Access denied")
    link.cut()
    bob.run("location = arguments[0]", address)
    bob.shows(".status", re.compile("No answer|Connection lost"))
    link.mend()
    bob.connected(20).shows(".presence", "1 here: Bob")


def test_a_rejected_line_waits_while_you_write(browser, chat):
    ada = browser.open(chat.link("Ada")).connected()
    long = "x" * 1001
    ada.run("""const input = document.querySelector("input");
        input.value = arguments[0];
        document.querySelector("form").requestSubmit();
        input.value = "next";""", long)
    ada.shows(".notice", re.compile("^Rejected: invalid input"))
    assert unsent(ada) == [long]
    assert ada.run("return document.querySelector('input').value") == "next"
    ada.run("document.querySelector('input').value = ''")
    until("what is given back", lambda: ada.run("return document.querySelector('input').value"), long)
    assert unsent(ada) == []


def unsent(tab):
    return tab.run("return [...document.querySelectorAll('.unsent p')].map((text) => text.textContent)")


def test_unsent_lines_survive_a_failing_database_and_a_reload(browser, chat):
    browser.expected = "409"  # This browser has another name.
    ada = browser.open(chat.link("Ada")).connected()
    chat.sql("CREATE TRIGGER broken BEFORE INSERT ON messages BEGIN SELECT RAISE(FAIL, 'disk full'); END")
    post(ada, "first")
    post(ada, "second")
    ada.shows(".notice", "Not sent yet: the message could not be stored or read; try again later")
    assert ada.text(".status") == "Connected"
    ada.run("location.reload()")
    until("the unsent lines", lambda: unsent(ada), ["first", "second"])
    # Another user in the same tab does not send them.
    ada.open(chat.link("Bob"))
    answer(ada, True)
    ada.shows(".me", ", Bob")
    ada.connected()
    assert unsent(ada) == []
    chat.sql("DROP TRIGGER broken")
    post(ada, "third")
    receives(ada, "Bob: third")
    ada.open(chat.link("Ada"))
    answer(ada, True)
    receives(ada, "Bob: third", "Ada: first", "Ada: second")
    until("the unsent lines", lambda: unsent(ada), [])
    assert ada.text(".notice") == ""
    ada.run("location.reload()")
    receives(ada, "Bob: third", "Ada: first", "Ada: second")
    assert unsent(ada) == []


def to_top(tab):
    tab.run("document.querySelector('.messages').scrollTop = 0")


def texts(tab):
    return [line.removeprefix("Eve: ") for line in messages(tab)]


def test_older_messages_load_when_you_scroll_up(browser, chat):
    chat.store(120)
    ada = browser.open(chat.link("Ada")).connected()
    everything = [f"old {n}" for n in range(1, 121)]
    until("the lines", lambda: texts(ada), everything[70:])
    to_top(ada)
    until("the lines", lambda: texts(ada), everything[20:])
    # The line that was the first one stays where it was.
    above = """const [view, line] = [document.querySelector('.messages'), document.querySelectorAll('.messages li')[51]];
        return [line.textContent, line.getBoundingClientRect().top - view.getBoundingClientRect().top]"""
    text, offset = ada.run(above)
    assert "old 71" in text and 0 <= offset < 100
    to_top(ada)
    until("the lines", lambda: texts(ada), everything)
    until("the hole", lambda: ada.run("return document.querySelectorAll('.gap').length"), 0)


def test_a_gap_is_filled_when_you_scroll_up(browser, chat, link):
    chat.store(1)
    ada = browser.open(chat.link("Ada", f"http://127.0.0.1:{link.port}")).connected()
    until("the lines", lambda: texts(ada), ["old 1"])
    link.cut()
    chat.store(600, "'missed ' || value", time.time_ns() // 1_000_000)
    link.mend()
    until("the gap", lambda: ada.run("return document.querySelectorAll('.gap').length"), 1, 20)
    everything = ["old 1", *(f"missed {n}" for n in range(1, 601))]

    def filled():
        ada.run("document.querySelector('.gap')?.scrollIntoView()")
        return texts(ada), ada.run("return document.querySelectorAll('.gap').length")

    until("the lines and the gaps", filled, (everything, 0), 60)


def test_a_message_with_many_line_breaks_stays_small(browser, chat):
    chat.store(1, "'a' || replace(hex(zeroblob(499)), '0', char(10)) || 'b'")
    ada = browser.open(chat.link("Ada")).connected()
    until("the line", lambda: len(messages(ada)), 1)
    height, focus = ada.run("const text = document.querySelector('.messages p'); return [text.offsetHeight, text.tabIndex]")
    assert height < 500 and focus == 0


def test_html_from_a_proxy_is_not_shown(browser, chat):
    ada = browser.open(chat.link("Ada")).connected()
    ada.run("""window.fetch = async () => new Response("<h1>Blocked</h1>", { status: 403, headers: { "content-type": "text/html" } })""")
    chat.server.kill()
    ada.shows(".notice", "A proxy rejected this page with status 403. Ask its administrator.")
    ada.shows(".status", "Access denied")


def answer(tab, accept):
    """Answers the question of the page that was used last, and returns it."""
    question = []

    def is_asked():
        with suppress(NoAlertPresentException):
            question.append(tab.driver.switch_to.alert)  # WebKit switches no window now.
        return question

    assert wait(is_asked), "the page asks"
    text = question[0].text
    question[0].accept() if accept else question[0].dismiss()
    return text


def test_a_link_of_another_name_asks_first(browser, chat, link):
    browser.expected = re.compile("40[139]")
    ada = browser.open(chat.link("Ada", f"http://127.0.0.1:{link.port}")).connected()
    mallory = chat.link("Mallory", f"http://127.0.0.1:{link.port}")
    tab = browser.open(mallory)
    assert re.search("Ada.*Mallory", answer(tab, False))
    tab.connected().shows(".me", ", Ada")
    # The question has left the invitation unused. A line that waits must not get the new name.
    ada.run("""const { send } = WebSocket.prototype;
        WebSocket.prototype.send = function (data) { if (!data.includes("secret")) send.call(this, data); };""")
    post(ada, "secret")
    tab.run("location = arguments[0]", mallory)
    answer(tab, True)
    tab.shows(".me", ", Mallory")
    ada.shows(".notice", "This browser has a new name in this room. Reload the page to use it.")
    ada.shows(".status", "Not connected")
    assert ada.run("return document.querySelectorAll('.unsent li').length") == 1
    tab.shows(".presence", "1 here: Mallory")
    assert messages(tab) == []
    ada.at().refresh()
    ada.connected().shows(".me", ", Mallory")


def set_cookie(tab, token):
    """Replaces the token in the cookie of the chat."""
    [cookie] = tab.at().get_cookies()
    tab.at().add_cookie({key: cookie[key] for key in ("name", "path", "httpOnly")} | {"value": token})


def test_an_open_page_notices_a_new_name_when_it_reconnects(browser, chat):
    browser.expected = "503"  # While the server shuts down.
    ada = browser.open(chat.link("Ada")).connected()
    set_cookie(ada, chat.sign(name="Mallory", room="lobby", expires=int(time.time()) + 99))
    chat.restart()
    ada.shows(".notice", re.compile("new name"))
    ada.shows(".status", "Not connected")


def test_a_link_works_once(browser, chat, another_browser):
    browser.expected = REFUSED
    link = chat.link("Ada")
    ada = browser.open(link).connected()
    other = another_browser()
    other.open(link).shows(".notice", "This invitation was used already. Ask for another link.")
    ada.open(link).connected().shows(".me", ", Ada")  # This browser has the cookie.


def test_a_pass_in_use_is_renewed(browser, chat):
    ada = browser.open(chat.link("Ada")).connected()
    expires = int(time.time()) + 10
    old = chat.sign(name="Ada", room="lobby", expires=expires)
    set_cookie(ada, old)
    ada.at().refresh()
    ada.connected()
    until("the cookie", lambda: ada.at().get_cookies()[0]["value"], lambda value: value != old, 20)
    wait(lambda: time.time() > expires)
    ada.at().refresh()
    ada.connected().shows(".me", ", Ada")


def test_a_pass_is_renewed_after_each_lost_connection(browser, chat):
    ada = browser.open(chat.link("Ada")).connected()
    old = chat.sign(name="Ada", room="lobby", expires=int(time.time()) + 1000)
    set_cookie(ada, old)
    ada.run("dispatchEvent(new Event('offline'))")
    until("the cookie", lambda: ada.at().get_cookies()[0]["value"] != old, True, 20)


def test_two_chats_on_one_host_keep_their_cookies(browser, chat, program, tmp_path, binaries):
    other = program("chat-server", f"localhost:{free_port()}", "--data", tmp_path / "other")
    command = [binaries["chat-server"], f"localhost:{other.port}", "--data", tmp_path / "other", "--invite", "Bob"]
    link = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()
    browser.open(chat.link("Ada")).connected()
    bob = browser.open(link).connected()
    bob.shows(".me", ", Bob")
    bob.open(f"http://localhost:{chat.port}/rooms/lobby").connected().shows(".me", ", Ada")
    bob.open(f"http://localhost:{other.port}/rooms/lobby").connected().shows(".me", ", Bob")


def test_the_login_of_a_proxy_is_left_alone(browser, chat, link):
    browser.open(chat.link("Ada", f"http://127.0.0.1:{link.port}")).connected()
    assert b"chat-login: " in link.sent.lower()
    assert b"\r\nauthorization:" not in link.sent.lower()


def test_a_line_of_invisible_characters_is_not_sent(browser, chat):
    ada = browser.open(chat.link("Ada")).connected()
    ada.run("""window.sent = [];
        const { send } = WebSocket.prototype;
        WebSocket.prototype.send = function (data) { window.sent.push(data); send.call(this, data); };""")
    for blank in ("\u200b\u2060", "\u2800", "\u3164 "):
        post(ada, blank)
    post(ada, "seen")
    receives(ada, "Ada: seen")
    assert [json.loads(line)["text"] for line in ada.run("return window.sent")] == ["seen"]


def test_a_page_of_another_port_cannot_use_the_cookie(browser, program, chat, fake, tmp_path):
    browser.expected = REFUSED
    chat.server.stop()
    program("chat-server", f"localhost:{chat.port}", "--data", tmp_path / "chat")  # With the default flags.
    browser.open(chat.link("Ada")).connected()
    foreign = fake("<!doctype html><title>Foreign</title><link rel=icon href=data:,><body>", host="localhost").page
    connect = """const socket = new WebSocket(arguments[0]);
        return await new Promise((done) => {
            socket.onopen = () => done("accepted");
            socket.onerror = () => done("rejected");
        });"""
    assert browser.open(foreign).wait_for(connect, f"ws://localhost:{chat.port}/rooms/lobby") == "rejected"


def test_who_is_not_let_in_is_told_so(browser, chat):
    browser.expected = REFUSED
    stranger = browser.open(f"http://127.0.0.1:{chat.server.port}/rooms/cellar")
    stranger.shows(".notice", "You need a valid invitation for this room. Ask for another link.")
    stranger.shows(".status", "Access denied")
    stranger = browser.open(f"http://127.0.0.1:{chat.server.port}/rooms/cellar#forged")
    stranger.shows(".notice", "You need a valid invitation for this room. Ask for another link.")
    stranger.shows(".status", "Access denied")
    stranger.open(f"http://127.0.0.1:{chat.server.port}/")
    stranger.shows(".notice", re.compile("need an invitation"))


@pytest.mark.parametrize("width", [360, 1200])
def test_it_fits_a_phone_and_a_desk(browser, chat, width):
    ada = browser.open(chat.link("Ada-" + "x" * 28)).connected()
    # No window is as narrow as a phone, and nobody may frame this page.
    ada.at().set_window_size(max(width, 640), 740)
    ada.run("if (arguments[0] < 640) document.documentElement.style.width = `${arguments[0]}px`", width)
    post(ada, "x" * 500)
    post(ada, "long " * 100)
    until("the lines", lambda: len(messages(ada)), 2)
    ada.fits(f"{width} pixels")


def test_axe_finds_nothing(browser, chat, axe):
    ada = browser.open(chat.link("Ada")).connected()
    post(ada, "Hi")
    receives(ada, "Ada: Hi")
    ada.run(axe)
    found = ada.wait_for("return (await axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`)")
    assert found == []
