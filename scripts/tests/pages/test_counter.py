"""web/counter.html in three browsers."""

import itertools
import json
import re
import time
from contextlib import suppress

import pytest
from pages.browsers import MARKUP, all_show, until
from pages.fakes import LISTEN, says
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from websockets.exceptions import ConnectionClosed

LEAST, MOST = "-9223372036854775808", "9223372036854775807"
DOUBT = "Your last click may not have been counted."
# Each wait for the next try becomes one of years. What runs by Firefox's driver sees the page through a veil.
NEVER = "(window.wrappedJSObject ?? window).Math.random = () => 1e9;"
# An idle page asks for its server's health after 0.3 s instead of 20.
IMPATIENT = "{ const later = setTimeout; window.setTimeout = (work, pause) => later(work, pause === 20_000 ? 300 : pause); }"


def state(value):
    return f'{{"type":"state","value":{value}}}'


def users(count):
    return f'{{"type":"users","count":{count}}}'


@pytest.fixture
def server(program):
    return program("counter-server")


def test_all_tabs_show_clicks_and_user_count(browser, server):
    one = browser.open(server.page)
    one.shows(".online", "1 user online")
    two, three = browser.open(server.page), browser.open(server.page)
    all_show([one, two, three], ".online", "3 users online")
    all_show([one, two, three], ".value", "0")
    for tab, button, value in [(one, ".plus", "1"), (one, ".plus", "2"), (one, ".minus", "1"),
                               (two, ".minus", "0"), (two, ".minus", "-1")]:
        tab.click(button)
        all_show([one, two, three], ".value", value)
    two.close()
    all_show([one, three], ".online", "2 users online")
    three.open("about:blank")
    one.shows(".online", "1 user online")


def test_tab_enter_and_space_work_it_and_the_focus_is_visible(browser, server):
    other, tab = browser.open(server.page).connected(), browser.open(server.page).connected()
    focused = "return document.activeElement.className"
    for button in ("minus", "plus"):
        tab.press(Keys.TAB)
        assert tab.run(focused) == button
    assert tab.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"
    tab.press(Keys.ENTER, Keys.SPACE)
    all_show([tab, other], ".value", "2")
    ActionChains(tab.at()).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    tab.press(Keys.SPACE)
    all_show([tab, other], ".value", "1")


def test_a_page_reconnects_after_its_server_is_killed(browser, server, program):
    tab = browser.open(server.page).connected()
    tab.run("document.querySelector('.plus').focus()")
    tab.press(Keys.ENTER)
    tab.shows(".value", "1")
    tab.run(LISTEN)  # It is still there at the end: the page was not reloaded.
    colour = "return getComputedStyle(document.querySelector(arguments[0])).color"
    colours = {part: tab.run(colour, part) for part in (".value", ".online")}

    server.kill()
    tab.shows(".status", "Connection lost")
    for button in (".plus", ".minus"):
        assert not tab.find(button).is_enabled(), f"{button} can be clicked with no connection"
    for part, connected in colours.items():
        assert tab.run(colour, part) != connected, f"{part} is out of date and does not look it"
    wanted = {f"Connection lost – {hint}" for hint in ("next try in 2 s", "next try in 1 s", "trying…")}
    until("what it says of the link", lambda: wanted - set(tab.run("return heard")), set())

    program("counter-server", server.address)
    tab.connected()
    tab.shows(".value", "0")  # A new server starts from nothing.
    tab.press(Keys.ENTER)  # The button that had the focus has it again.
    tab.shows(".value", "1")
    assert "Connected " in tab.run("return heard")


def test_a_page_retries_when_network_or_user_returns(browser, server, program):
    tab = browser.open(server.page).connected()
    offline = "window.dispatchEvent(new Event('offline')); return document.querySelector('.status').textContent"
    assert tab.run(offline) == "Connection lost", "it is believed at once"
    tab.connected()
    tab.run(NEVER + "Object.defineProperty(document, 'hidden', { value: false, configurable: true })")
    for end, event in [("kill", "window.dispatchEvent(new Event('online'))"),
                       ("stop", "document.dispatchEvent(new Event('visibilitychange'))")]:
        getattr(server, end)()
        tab.shows(".status", "Connection lost")
        server = program("counter-server", server.address)
        tab.run(event)
        tab.connected().click(".plus")
        tab.shows(".value", "1")


def test_a_page_that_the_back_button_brings_back_connects_anew(browser, server, foreign):
    tab, other = browser.open(server.page).connected(), browser.open(server.page).connected()
    for value in ("1", "2", "3"):  # Again and again, and always at once.
        other.shows(".online", "2 users online")
        tab.run(NEVER + "window.kept = true")
        tab.open(foreign)
        other.shows(".online", "1 user online")  # Nobody is counted who is elsewhere.
        other.click(".plus")
        other.shows(".value", value)
        tab.at().back()
        tab.shows(".value", value)
        assert (tab.text(".status"), tab.text(".notice")) == ("Connected", "")
    if browser.engine != "firefox":
        assert tab.run("return window.kept"), "it came from the cache, or the test tests nothing"


def test_a_page_reconnects_when_its_server_hangs(browser, server):
    tab = browser.open(server.page).connected()
    tab.shows(".value", "0")
    server.freeze()
    clicked = time.monotonic()
    tab.click(".plus")
    tab.shows(".status", "Connection lost")
    assert time.monotonic() - clicked > 9
    tab.shows(".notice", DOUBT)
    server.thaw()
    tab.connected()
    tab.shows(".value", "1")  # It was counted after all,
    tab.shows(".notice", "")  # and that can be seen.


def test_only_an_answer_ends_the_wait_for_a_click(browser, fake):
    server = fake("counter.html", says(users(1), state(5)))
    busy = "return document.querySelector('.value').ariaBusy"
    tab = browser.open(server.page).connected()
    tab.shows(".value", "5")
    assert tab.run(busy) != "true"
    tab.click(".plus")
    server.send(users(2))
    tab.shows(".online", "2 users online")
    assert tab.run(busy) == "true", "it shows that a click is under way"

    def notice():
        with suppress(ConnectionClosed):
            server.send(users(3))  # Others come and go, and nobody answers.
        return tab.text(".notice")

    until("the notice", notice, DOUBT)


@pytest.mark.parametrize("answer", [state(6), '{"type":"error","message":"No further."}'])
def test_a_click_is_seen_to_be_under_way_until_it_is_answered(browser, fake, answer):
    server = fake("counter.html", says(state(5)))
    tab = browser.open(server.page).connected()
    look = "return getComputedStyle(document.querySelector('.value')).opacity"
    tab.click(".plus")
    until("the value's opacity", lambda: tab.run(look), "0.6")
    server.send(answer)
    until("the value's opacity", lambda: tab.run(look), "1")


def test_an_idle_page_tells_of_a_dead_link_within_45_seconds(browser, server):
    tab = browser.open(server.page).connected()
    tab.shows(".value", "0")
    server.freeze()  # From now on nothing is heard: no reset, no answer to anything.
    started = time.monotonic()
    tab.shows(".status", "Connection lost", 45)
    assert time.monotonic() - started > 15
    server.thaw()
    tab.connected()


@pytest.mark.parametrize("folder, page", [("/", ""), ("/counter/", ""), ("/a/b/", "index.html?query#fragment")])
def test_an_idle_page_checks_its_server_and_stays(browser, fake, folder, page):
    server = fake("counter.html", says(state(5)), before=IMPATIENT)
    tab = browser.open(server.page[:-1] + folder + page)
    tab.shows(".value", "5")
    until("the questions", lambda: server.asked.count(f"{folder}healthz"), lambda count: count >= 3)
    assert (tab.text(".status"), server.connected) == ("Connected", [folder])


def test_a_page_backs_off_when_always_disconnected(browser, fake):
    def talk(socket):
        socket.send(state(1))
        socket.close(1011)

    tab = browser.open(fake("counter.html", talk, before=f"Math.random = () => 1; {LISTEN}").page)

    def waits():
        """Where each countdown begins."""
        left = [int(second) for second in re.findall(r"next try in (\d+) s", "\n".join(tab.run("return heard")))]
        return [after for before, after in itertools.pairwise([0, *left]) if after > before]

    until("the waits", lambda: waits()[:3], [1, 2, 4])


def test_extreme_values_are_exact_and_fit_the_screen(browser, fake):
    value = "0"
    server = fake("counter.html", lambda socket: says(users(1234567), state(value))(socket))
    tab = browser.open()
    for value in ("0", "-1", "-1234567", MOST, LEAST):
        tab.open_framed(server).shows(".value", value)
        for width in (320, 360, 704, 720, 1280):
            tab.size(width)
            tab.fits(f"{value} at {width} px")
            size = tab.run("return parseFloat(getComputedStyle(document.querySelector('.value')).fontSize)")
            assert size >= 18, f"{value} at {width} px is written in {size} px"


def test_the_layout_follows_the_window(browser, fake):
    tab = browser.open().open_framed(fake("counter.html", says(state(12345))))
    tab.shows(".value", "12345")
    sizes = "return [...document.querySelectorAll('.value, .plus, main')].map((part) => part.getBoundingClientRect().toJSON())"
    at = {}
    for width in (1280, 500, 900, 500, 1280):
        tab.size(width)
        seen = tab.run(sizes)
        assert at.setdefault(width, seen) == seen, f"it is at {width} px what it was there before"
        fresh = tab.run("document.body.style.display = 'none'; document.body.offsetWidth; document.body.style.display = '';" + sizes)
        assert fresh == seen, f"it is at {width} px what it is when laid out anew"
    assert at[1280] != at[500]


def test_a_browser_that_rounds_beyond_2_53_says_so(browser, fake):
    sourceless = "const parse = JSON.parse; JSON.parse = (text, revive) => parse(text, (key, value) => revive(key, value));"
    talk = says(users(3), state(12), answer=state(MOST))
    tab = browser.open(fake("counter.html", talk, before=f"{{ {sourceless} }}").page)
    tab.shows(".value", "12")
    tab.shows(".online", "3 users online")
    tab.click(".plus")
    tab.shows(".value", "≈9223372036854776000")


def test_an_error_shows_until_the_next_click(browser, fake):
    message = f"No further: {MARKUP}"
    talk = says(state(7), json.dumps({"type": "error", "message": message}), answer=state(8))
    tab = browser.open(fake("counter.html", talk).page)
    tab.shows("[role=alert]", message)
    tab.has_no_markup()
    tab.click(".plus")
    tab.shows(".value", "8")
    tab.shows(".notice", "")


def test_junk_from_the_server_is_ignored_and_the_page_lives_on(browser, fake):
    junk = [
        "", "junk", "null", "true", "5", '"x"', "[]", "[[]]", "{}", '{"type":null}', '{"type":"nonsense"}', '{"type":"state"}',
        *map(state, ["null", "{}", "[]", '"6"', "true", "1.5", "1e300", "1e999", json.dumps(MARKUP)]),
        *map(users, ["null", "{}", '"3"', "0.5", json.dumps(MARKUP)]),
        '{"type":"error"}', '{"type":"error","message":{}}', '{"type":["state"],"value":6}',
        '{"__proto__":{"type":"state","value":6}}', '{"type":"toString"}', '{"type":"state","value":{"toString":1}}',
        "[" * 100_000, "[" * 100_000 + "]" * 100_000, json.dumps("x" * (1 << 20)),
        state(6).encode(), b"\xff\x00", b"",
    ]
    tab = browser.open(fake("counter.html", says(users(2), state(41), *junk, users(3), answer=state(42))).page)
    tab.shows(".online", "3 users online")
    tab.shows(".value", "41")
    assert tab.text(".notice") == ""
    tab.click(".plus")
    tab.shows(".value", "42")
    tab.has_no_markup()
    tab.fits("after junk")
