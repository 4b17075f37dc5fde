"""The texts of a page in the browser's language, in three browsers."""

import re

import pytest
from pages.fakes import says

# What stays as it is in a Chinese page: addresses, what users or servers sent, and units of time.
NOT_TRANSLATED = re.compile(r"ws://\S+|Hello \S+|\d\S*Z|not today|log")


def in_language(language):
    """A script for the page that runs first, in place of a browser with another language."""
    return f'Object.defineProperty(navigator, "language", {{ get: () => "{language}" }});'


def english_words(tab):
    """The words in Latin letters that a reader sees, or that a screen reader reads."""
    texts = tab.run("""
        const labels = [...document.querySelectorAll("[aria-label], [placeholder]")]
            .map((element) => element.ariaLabel ?? element.placeholder);
        return [document.title, document.body.innerText, ...labels].join("\\n");
    """)
    return re.findall(r"[A-Za-z]{2,}", NOT_TRANSLATED.sub("", texts))


def lang(tab):
    return tab.run("return document.documentElement.lang")


@pytest.mark.parametrize("name, heading", [
    ("hello", "Say hello"), ("time", "The server’s time"), ("counter", "One counter for all")])
def test_a_page_is_english_in_any_other_language(browser, fake, name, heading):
    for language in ("en-GB", "de"):
        tab = browser.open(fake(f"{name}.html", before=in_language(language)).page)
        assert (tab.text("h1"), lang(tab)) == (heading, "en")


@pytest.mark.parametrize("language", ["zh-TW", "zh"])
def test_hello_is_chinese_in_every_state(browser, fake, language):
    closes = [(1000, ""), (1008, "not today"), (1011, "")]

    def talk(socket):
        name = socket.recv()
        if name == "Ada":
            socket.send("Hello Ada!")
        socket.close(*closes.pop(0))

    server = fake("hello.html", talk, before=in_language(language))
    tab = browser.open(server.page)
    assert (tab.text("h1"), tab.text("button"), lang(tab)) == ("打個招呼", "送出", "zh-Hant")
    for name, status in [
        ("Ada", "收到問候，連線以關閉碼 1000 結束"),
        ("Bob", "伺服器拒絕了：關閉碼 1008 not today"),
        ("Eve", "連線中斷"),
    ]:
        tab.greet(name)
        tab.shows(".status", status)
        assert english_words(tab) == []
    tab.shows(".hint", re.compile(r"^– \d+ 秒後重試$"))


def test_time_is_chinese_in_every_state(browser, fake):
    server = fake("time.html", says("2026-11-22T22:24:47.819707Z"), before=in_language("zh-TW"))
    tab = browser.open(server.page)
    tab.shows(".status", "已連線")
    tab.shows("li", re.compile("Z$"))
    assert (tab.text("h1"), lang(tab)) == ("伺服器的時間", "zh-Hant")
    assert english_words(tab) == []
    server.stop()
    tab.shows(".status", "連線中斷")
    assert english_words(tab) == []


def test_counter_is_chinese_in_every_state(browser, fake):
    def talk(socket):
        socket.send('{"type":"users","count":2}')
        socket.send('{"type":"state","value":42}')
        socket.recv()
        socket.close(1011)

    never_again = "Math.random = () => 1e9;"  # The wait for the next try becomes years.
    tab = browser.open(fake("counter.html", talk, before=in_language("zh-TW") + never_again).page)
    tab.shows(".value", "42")
    tab.shows(".online", "2 人在線上")
    labels = [tab.find(button).get_attribute("aria-label") for button in (".minus", ".plus")]
    assert (tab.text("h1"), labels, lang(tab)) == ("大家共用的計數器", ["減一", "加一"], "zh-Hant")
    assert english_words(tab) == []
    tab.click(".plus")
    tab.shows(".status", "連線中斷")
    tab.shows(".notice", "你上一次的點擊可能沒有計入。")
    assert english_words(tab) == []


@pytest.mark.parametrize("name", ["hello", "time", "counter"])
def test_a_chinese_page_explains_a_failed_connection(browser, fake, name):
    refuse = "WebSocket = class { constructor() { setTimeout(() => this.onclose({ code: 1006 })); } close() {} };"
    server = fake(f"{name}.html", before=in_language("zh-TW") + refuse)
    tab = browser.open(server.page)
    if name == "hello":
        tab.greet("Ada")
    tab.shows(".status", f"{server.page.replace('http', 'ws')} 沒有回應")
    tab.shows(".notice", re.compile("^無法連線"))
    assert english_words(tab) == []
