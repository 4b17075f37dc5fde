"""web/time.html in three browsers."""

import re
from datetime import datetime, timezone

from pages.browsers import MARKUP, until
from pages.fakes import says

LINES = "return [...document.querySelectorAll('ul > li')].map((line) => line.textContent)"


def lines(tab, at_least):
    return until("the list", lambda: tab.run(LINES), lambda seen: len(seen) >= at_least)


def test_the_list_grows_newest_first_each_line_a_time_of_now(browser, program):
    seen = lines(browser.open(program("time-server").page), 3)
    for line in seen:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line)
        assert abs((datetime.now(timezone.utc) - datetime.fromisoformat(line)).total_seconds()) < 60
    assert seen == sorted(seen, reverse=True)


def test_only_the_last_fifty_lines_stay_as_text(browser, fake):
    talk = says(*(f"line {n}" for n in range(500)), b"binary", "x" * (1 << 20), MARKUP)
    tab = browser.open().open_framed(fake("time.html", talk))
    tab.shows("li:first-child", MARKUP)
    seen = tab.run(LINES)
    assert len(seen) == 50
    assert [seen[1], seen[2], seen[49]] == ["x" * 300, "line 499", "line 452"]
    tab.has_no_markup()
    for width in (1280, 360):
        tab.size(width)
        tab.fits(f"at {width} px")


def test_the_list_scrolls_only_at_its_newest_line(browser, fake):
    server = fake("time.html", says(*(f"line {n}" for n in range(40))))
    tab = browser.open(server.page)
    tab.shows("li:first-child", "line 39")
    assert tab.run("return document.querySelector('ul').scrollTop") == 0
    where = "return [...document.querySelectorAll('li')].find((line) => line.textContent === 'line 20').getBoundingClientRect().top"
    before = tab.run("document.querySelector('ul').scrollTop = 400;" + where)
    for n in range(5):
        server.send(f"news {n}")
        tab.shows("li:first-child", f"news {n}")
        assert abs(tab.run(where) - before) < 2


def test_a_dead_connection_is_reported_and_replaced(browser, program):
    server = program("time-server")
    tab = browser.open(server.page)
    lines(tab, 1)
    server.freeze()
    tab.shows(".status", "Connection lost")
    server.thaw()
    tab.connected()
    lines(tab, len(tab.run(LINES)) + 1)
    server.kill()
    tab.shows(".status", "Connection lost")
    before = tab.run(LINES)
    program("time-server", server.address)
    assert lines(tab, len(before) + 1)[-len(before):] == before


def test_the_newest_time_is_the_largest_at_any_size_of_text(browser, fake):
    tab = browser.open().open_framed(fake("time.html", says(*["2026-11-22T22:24:47.819707Z"] * 3)))
    lines(tab, 3)
    for width, text in [(1280, 100), (360, 100), (320, 100), (360, 200)]:
        tab.size(width)
        tab.run("document.documentElement.style.fontSize = `${arguments[0]}%`", text)
        newest, older = tab.run("return [...document.querySelectorAll('li')].map((line) => parseFloat(getComputedStyle(line).fontSize))")[:2]
        assert newest > older, f"{newest} px and {older} px at {width} px with text at {text} %"
        tab.fits(f"at {width} px with text at {text} %")
