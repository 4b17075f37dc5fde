"""web/counter.html in three browsers."""

import json
import re
import time
from signal import SIGCONT, SIGSTOP

import pytest
from pages.browsers import MARKUP, until
from selenium.webdriver.common.keys import Keys

LEAST, MOST = "-9223372036854775808", "9223372036854775807"
DOUBT = "Your last click may not have been counted."
# Time that passes ten times as fast, for what a page would wait for.
HASTE = """{
  const later = setTimeout, within = AbortSignal.timeout.bind(AbortSignal);
  window.setTimeout = (work, pause) => later(work, pause / 10);
  AbortSignal.timeout = (pause) => within(pause / 10);
}"""


def state(value):
    return f'{{"type":"state","value":{value}}}'


def users(count):
    return f'{{"type":"users","count":{count}}}'


def test_one_tab_clicks_by_mouse_and_both_follow(browser, program):
    server = program("counter-server")
    one, two = browser.open(server.page), browser.open(server.page)
    for tab in (one, two):
        tab.shows(".value", "0")
    for tab, button, value in [(one, ".plus", "1"), (one, ".plus", "2"), (one, ".minus", "1"),
                               (two, ".minus", "0"), (two, ".minus", "-1")]:
        tab.click(button)
        for each in (one, two):
            each.shows(".value", value)


def test_tab_enter_and_space_work_it_and_the_focus_is_visible(browser, program):
    server = program("counter-server")
    other, tab = browser.open(server.page).connected(), browser.open(server.page).connected()
    focused = "return document.activeElement.className"
    tab.press(Keys.TAB)
    assert tab.run(focused) == "minus"
    tab.press(Keys.TAB)
    assert tab.run(focused) == "plus"
    assert tab.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"
    tab.press(Keys.ENTER, Keys.SPACE)
    for each in (tab, other):
        each.shows(".value", "2")
    tab.press(Keys.TAB, held=Keys.SHIFT)
    tab.press(Keys.SPACE)
    for each in (tab, other):
        each.shows(".value", "1")


def test_the_number_of_users_goes_up_and_down(browser, program):
    server = program("counter-server")
    one = browser.open(server.page)
    one.shows(".online", "1 user online")
    two, three = browser.open(server.page), browser.open(server.page)
    for tab in (one, two, three):
        tab.shows(".online", "3 users online")
    two.close()
    for tab in (one, three):
        tab.shows(".online", "2 users online")
    three.open("about:blank")
    one.shows(".online", "1 user online")


def test_a_killed_server_is_told_of_and_its_page_returns_without_a_reload(browser, program):
    server = program("counter-server")
    tab = browser.open(server.page).connected()
    tab.run("document.querySelector('.plus').focus()")
    tab.press(Keys.ENTER)
    tab.shows(".value", "1")
    tab.run("""
        window.sameDocument = true;
        window.heard = [];
        const link = document.querySelector(".link");
        new MutationObserver(() => heard.push(link.textContent))
            .observe(link, { childList: true, characterData: true, subtree: true })""")
    colour = "return getComputedStyle(document.querySelector(arguments[0])).color"
    colours = {part: tab.run(colour, part) for part in (".value", ".online")}

    server.kill()
    tab.shows(".status", "Connection lost")
    for button in (".plus", ".minus"):
        assert not tab.find(button).is_enabled(), f"{button} can be clicked with no connection"
    for part, connected in colours.items():
        assert tab.run(colour, part) != connected, f"{part} is out of date and does not look it"
    tab.shows(".hint", re.compile("^– next try in [34] s$"))  # The third wait: 2 to 4 s.
    tab.shows(".hint", re.compile("^– next try in 1 s$"))

    program("counter-server", server.address)
    tab.connected()
    tab.shows(".value", "0")  # A new server starts from nothing.
    assert tab.run("return window.sameDocument"), "the page was reloaded"
    assert "Connection lost – trying…" in tab.run("return window.heard")
    tab.press(Keys.ENTER)  # The button that had the focus has it again.
    tab.shows(".value", "1")


def test_a_server_that_is_shut_down_and_started_again_gets_its_page_back(browser, program):
    server = program("counter-server")
    tab = browser.open(server.page).connected()
    assert server.stop() == 0
    tab.shows(".status", "Connection lost")
    program("counter-server", server.address)
    tab.connected().click(".plus")
    tab.shows(".value", "1")


def test_the_next_try_is_at_once_when_the_network_or_the_reader_returns(browser, program):
    server = program("counter-server")
    tab = browser.open(server.page)
    # The longest waits. What runs by Firefox's driver sees the page through a veil.
    tab.run("(window.wrappedJSObject ?? window).Math.random = () => 0.999")
    for event in ("window.dispatchEvent(new Event('online'))", "document.dispatchEvent(new Event('visibilitychange'))"):
        tab.connected()
        server.kill()
        tab.shows(".hint", re.compile("^– next try in [34] s$"))  # The third wait, nearly 4 s.
        server = program("counter-server", server.address)
        tab.run("Object.defineProperty(document, 'hidden', { value: false, configurable: true });" + event)
        tab.connected(1.5)


def test_offline_is_believed_at_once(browser, program):
    server = program("counter-server")
    tab = browser.open(server.page).connected()
    tab.run("window.dispatchEvent(new Event('offline'))")
    assert tab.text(".status") == "Connection lost"
    tab.connected()


def test_a_page_that_the_back_button_brings_back_connects_anew(browser, program, foreign):
    server = program("counter-server")
    tab, other = browser.open(server.page).connected(), browser.open(server.page).connected()
    other.shows(".online", "2 users online")
    for value in ("1", "2", "3"):  # Again and again: the pauses do not grow.
        tab.run("window.kept = true")
        tab.open(foreign)
        other.shows(".online", "1 user online")  # Nobody is counted who is elsewhere.
        other.click(".plus")
        other.shows(".value", value)
        tab.at().back()
        tab.connected(2)
        tab.shows(".value", value, 1)
        assert tab.text(".notice") == ""
    if browser.engine != "firefox":
        assert tab.run("return window.kept"), "it came from the cache, or the test tests nothing"


def test_a_server_that_no_longer_answers_is_taken_for_lost_and_its_page_returns(browser, program):
    server = program("counter-server")
    tab = browser.open(server.page).connected()
    tab.shows(".value", "0")
    server.signal(SIGSTOP)
    tab.click(".plus")
    clicked = time.monotonic()
    tab.shows(".status", "Connection lost", 13)
    assert time.monotonic() - clicked > 9
    tab.shows(".notice", DOUBT)
    server.signal(SIGCONT)
    tab.connected(20)
    tab.shows(".value", "1")  # It was counted after all,
    tab.shows(".notice", "")  # and that can be seen.


def test_only_an_answer_ends_the_wait_for_a_click(browser, fake):
    said = []

    def talk(socket):
        socket.send(users(1))
        socket.send(state(5))
        for _ in socket:
            said.append("a click")
            while len(said) == 1:  # Others come and go, and nobody answers.
                socket.send(users(2))
                time.sleep(0.2)

    server = fake("counter.html", talk, before=HASTE)
    tab = browser.open(server.page).connected()
    assert tab.run("return document.querySelector('.value').ariaBusy") != "true"
    tab.click(".plus")
    tab.shows(".online", "2 users online")
    assert tab.run("return document.querySelector('.value').ariaBusy") == "true", "it shows that a click is under way"
    tab.shows(".notice", DOUBT, 3)
    said.append("enough")


@pytest.mark.parametrize("answer", [state(6), '{"type":"error","message":"No further."}'])
def test_a_click_is_seen_to_be_under_way_until_it_is_answered(browser, fake, answer):
    answers = []

    def talk(socket):
        socket.send(state(5))
        for _ in socket:
            while not answers:
                time.sleep(0.02)
            socket.send(answers[0])

    tab = browser.open(fake("counter.html", talk).page).connected()
    look = "return getComputedStyle(document.querySelector('.value')).opacity"
    tab.click(".plus")
    until("the value's opacity", lambda: tab.run(look), "0.6")
    answers.append(answer)
    until("the value's opacity", lambda: tab.run(look), "1")


def test_an_idle_page_tells_of_a_dead_link_within_45_seconds(browser, program):
    server = program("counter-server")
    tab = browser.open(server.page).connected()
    tab.shows(".value", "0")
    server.signal(SIGSTOP)  # From now on nothing is heard: no reset, no answer to anything.
    started = time.monotonic()
    tab.shows(".status", "Connection lost", 45)
    assert time.monotonic() - started > 15
    server.signal(SIGCONT)
    tab.connected(20)


def test_an_idle_page_whose_server_is_well_stays_connected(browser, fake):
    connections = []

    def talk(socket):
        connections.append(socket)
        socket.send(state(5))
        for _ in socket:
            pass

    server = fake("counter.html", talk, before=HASTE)
    tab = browser.open(server.page).connected()
    until("the questions", lambda: server.asked.count("/healthz"), lambda count: count >= 3)
    assert tab.text(".status") == "Connected"
    assert len(connections) == 1


def test_a_page_behind_a_path_prefix_finds_its_server(browser, fake):
    def talk(socket):
        socket.send(state(5))
        for _ in socket:
            pass

    server = fake("counter.html", talk, before=HASTE)
    for folder, page in [("/counter/", ""), ("/a/b/", "index.html?query#fragment")]:
        browser.open(server.page[:-1] + folder + page).shows(".value", "5")
        assert server.connected[-1] == folder
        until("the questions", lambda: server.asked, lambda asked: f"{folder}healthz" in asked)


def test_a_server_that_hangs_up_on_everyone_is_asked_less_and_less_often(browser, fake):
    visits = []

    def talk(socket):
        visits.append(socket)
        socket.send(state(len(visits)))
        socket.close(1011)

    tab = browser.open(fake("counter.html", talk).page)
    tab.shows(".hint", re.compile("^– next try in [34] s$"))
    assert len(visits) == 3


def test_the_ends_of_an_i64_are_shown_to_the_digit_and_fit_a_phone_and_a_desktop(browser, fake):
    value = "0"

    def talk(socket):
        socket.send(users(1234567))
        socket.send(state(value))
        for _ in socket:
            pass

    server = fake("counter.html", talk)
    tab = browser.open()
    for value in ("0", "-1", "-1234567", MOST, LEAST):
        tab.open_framed(server).shows(".value", value)
        for width in (320, 360, 704, 720, 1280):
            tab.size(width)
            tab.fits(f"{value} at {width} px")
            size = tab.run("return parseFloat(getComputedStyle(document.querySelector('.value')).fontSize)")
            assert size >= 18, f"{value} at {width} px is written in {size} px"


def test_the_layout_follows_the_window(browser, fake):
    def talk(socket):
        socket.send(state(12345))
        for _ in socket:
            pass

    tab = browser.open().open_framed(fake("counter.html", talk))
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
    def talk(socket):
        socket.send(users(3))
        socket.send(state(12))
        for _ in socket:
            socket.send(state(MOST))

    sourceless = "const parse = JSON.parse; JSON.parse = (text, revive) => parse(text, (key, value) => revive(key, value));"
    tab = browser.open(fake("counter.html", talk, before=f"{{ {sourceless} }}").page)
    tab.shows(".value", "12")
    tab.shows(".online", "3 users online")
    tab.click(".plus")
    tab.shows(".value", "≈9223372036854776000")


def test_an_error_is_shown_as_text_to_this_user_and_goes_with_the_next_click(browser, fake):
    message = f"No further: {MARKUP}"

    def talk(socket):
        socket.send(state(7))
        socket.send(json.dumps({"type": "error", "message": message}))
        for _ in socket:
            socket.send(state(8))

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

    def talk(socket):
        for message in [users(2), state(41), *junk, users(3)]:
            socket.send(message)
        for _ in socket:
            socket.send(state(42))

    tab = browser.open(fake("counter.html", talk).page)
    tab.shows(".online", "3 users online")
    tab.shows(".value", "41")
    assert tab.text(".notice") == ""
    tab.click(".plus")
    tab.shows(".value", "42")
    tab.has_no_markup()
    tab.fits("after junk")
