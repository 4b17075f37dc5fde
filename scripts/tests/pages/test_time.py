"""web/time.html in three browsers."""

import re
import time
from datetime import datetime, timezone
from signal import SIGCONT, SIGSTOP

from pages.browsers import MARKUP, until


LINES = "return [...document.querySelectorAll('ul > li')].map((line) => line.textContent)"


def test_the_list_grows_newest_first_each_line_a_time_of_now(browser, program):
    server = program("time-server")
    tab = browser.open(server.page)
    seen = until("the list", lambda: tab.run(LINES), lambda seen: len(seen) >= 3, 30)
    for line in seen:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line)
        assert abs((datetime.now(timezone.utc) - datetime.fromisoformat(line)).total_seconds()) < 60
    assert seen == sorted(seen, reverse=True)


def test_a_long_run_leaves_fifty_lines_and_what_they_hold_is_text(browser, fake):
    def talk(socket):
        for message in [*(f"line {n}" for n in range(500)), b"binary", "x" * (1 << 20), MARKUP]:
            socket.send(message)
        for _ in socket:
            pass

    tab = browser.open().open_framed(fake("time.html", talk))
    tab.shows("li:first-child", MARKUP)
    lines = tab.run(LINES)
    assert len(lines) == 50
    assert [lines[1], lines[2], lines[49]] == ["x" * 300, "line 499", "line 452"]
    tab.has_no_markup()
    for width in (1280, 360):
        tab.size(width)
        tab.fits(f"at {width} px")


def test_who_reads_older_lines_sees_them_stay(browser, fake):
    more = []

    def talk(socket):
        for n in range(40):
            socket.send(f"line {n}")
        for _ in range(5):
            while not more:
                time.sleep(0.02)
            socket.send(more.pop())
        for _ in socket:
            pass

    tab = browser.open(fake("time.html", talk).page)
    tab.shows("li:first-child", "line 39")
    where = "return [...document.querySelectorAll('li')].find((line) => line.textContent === 'line 20').getBoundingClientRect().top"
    tab.run("document.querySelector('ul').scrollTop = 400")
    before = tab.run(where)
    for n in range(5):
        more.append(f"news {n}")
        tab.shows("li:first-child", f"news {n}")
        assert abs(tab.run(where) - before) < 2
    tab.run("document.querySelector('ul').scrollTop = 0")


def test_who_reads_the_newest_line_sees_the_next_come(browser, fake):
    def talk(socket):
        for n in range(40):
            socket.send(f"line {n}")
        for _ in socket:
            pass

    tab = browser.open(fake("time.html", talk).page)
    tab.shows("li:first-child", "line 39")
    assert tab.run("return document.querySelector('ul').scrollTop") == 0


def test_the_server_is_killed_and_returns_and_the_list_goes_on(browser, program):
    server = program("time-server")
    tab = browser.open(server.page)
    until("the list", lambda: len(tab.run(LINES)), lambda count: count >= 1)
    server.kill()
    tab.shows(".status", "Connection lost")
    tab.shows(".hint", re.compile(r"^– next try in \d+ s$"))
    before = len(tab.run(LINES))
    program("time-server", server.address)
    tab.connected()
    until("the list", lambda: len(tab.run(LINES)), lambda count: count > before)


def test_a_link_that_is_dead_without_a_word_is_told_of(browser, program):
    server = program("time-server")
    tab = browser.open(server.page).connected()
    until("the list", lambda: len(tab.run(LINES)), lambda count: count >= 1)
    server.signal(SIGSTOP)
    tab.shows(".status", "Connection lost", 15)
    server.signal(SIGCONT)
    tab.connected(20)


def test_the_newest_time_is_the_largest_at_any_size_of_text(browser, fake):
    def talk(socket):
        for _ in range(3):
            socket.send("2026-11-22T22:24:47.819707Z")
        for _ in socket:
            pass

    tab = browser.open().open_framed(fake("time.html", talk))
    until("the list", lambda: len(tab.run(LINES)), 3)
    for width, text in [(1280, 100), (360, 100), (320, 100), (360, 200)]:
        tab.size(width)
        tab.run("document.documentElement.style.fontSize = `${arguments[0]}%`", text)
        newest, older = tab.run("return [...document.querySelectorAll('li')].map((line) => parseFloat(getComputedStyle(line).fontSize))")[:2]
        assert newest > older, f"{newest} px and {older} px at {width} px with text at {text} %"
        tab.fits(f"at {width} px with text at {text} %")
