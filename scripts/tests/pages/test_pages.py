"""What holds for every page in web/, in three browsers."""

import re

import pytest
from pages.browsers import MARKUP, until, used
from pages.fakes import WEB, says
from programs import free_port

PAGES = ["hello", "time", "counter"]
COUNTING = says('{"type":"users","count":2}', '{"type":"state","value":42}', answer='{"type":"error","message":"no further"}')


@pytest.mark.parametrize("running_browser", ["chromium", "firefox"], indirect=True)  # See Browser.problems().
def test_an_error_in_a_page_is_noticed(browser, fake):
    browser.open(fake("hello.html", before="setTimeout(() => { throw new Error('on purpose') })").page)
    until("the console", browser.problems, lambda problems: any("on purpose" in line for line in problems))


@pytest.mark.parametrize("name, default", [
    ("hello", "ws://localhost:8765/"), ("time", "ws://127.0.0.1:5678/"), ("counter", "ws://127.0.0.1:6789/")])
def test_a_file_page_finds_its_server_later(
        browser, program, as_file, name, default):
    assert f'fileUrl = "{default}"' in (WEB / f"{name}.html").read_text()
    # On a port of the test's own instead.
    address = f"{default[5:].split(':')[0]}:{free_port()}"
    tab = browser.open(as_file(name, address.split(":")[1]))
    if name == "hello":
        tab.greet("Ada")
    tab.finds_nobody(address)
    program(f"{name}-server", address, *["--allow-origin", "null"] * (name == "hello"))
    used(name, tab)
    tab.shows(".notice", "")
    if name == "counter":
        asked = f"""return fetch("http://{address}/healthz", {{ mode: "no-cors" }}).then(() => true)"""
        assert tab.wait_for(asked), "its policy lets it ask whether the server is well"


def test_every_announced_address_serves_a_working_page(browser, program):
    server = program("counter-server", "localhost:0")
    until("what it prints", lambda: server.printed, lambda printed: b"open http" in printed)
    printed = server.printed.decode()
    sockets = re.findall("^listening on (ws:.*)$", printed, re.M)
    for address in re.findall(r"^open (\S+)", printed, re.M) + [url.replace("ws", "http") for url in sockets]:
        browser.open(address).connected()


def test_a_page_that_is_refused_says_where_to_look(browser, program):
    server = program("counter-server", None, "--allow-origin", "https://elsewhere.example")
    browser.expected = "403"
    browser.open(server.page).finds_nobody(server.address)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_one_file_without_globals(browser, fake, name):
    server = fake(f"{name}.html", before="window.before = new Set(Object.getOwnPropertyNames(window))")
    tab = browser.open(server.page)
    tab.wait_for("await new Promise((done) => setTimeout(done, 500))")  # Time to ask for a favicon.
    assert set(server.asked) == {"/"}, server.asked
    left = tab.run("return Object.getOwnPropertyNames(window).filter((name) => !before.has(name))")
    assert [name for name in left if name not in ("before", "ret_nodes")] == []  # The latter is ChromeDriver's.
    assert tab.run("return document.compatMode") == "CSS1Compat"


@pytest.mark.parametrize("name", PAGES)
def test_its_policy_refuses_foreign_code_and_addresses(browser, fake, name):
    browser.expected = "Content.Security.Policy|Refused to|violates|CSP"
    tab = browser.open(fake(f"{name}.html").page)
    spoken = tab.wait_for("""
        window.refused = [];
        document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
        const script = document.createElement("script");
        script.textContent = "window.pwned = true";
        const style = document.createElement("style");
        style.textContent = "body { display: none }";
        document.body.append(script, style);
        document.body.insertAdjacentHTML("beforeend", arguments[0]);
        const fetched = await fetch(arguments[1], { mode: "no-cors" }).then(() => true, () => false);
        return fetched || await new Promise((done) => {
            try {
                const socket = new WebSocket(arguments[1].replace("http", "ws"));
                socket.onopen = () => done(true);
                socket.onerror = () => done(false);
            } catch { done(false); }
        });
    """, MARKUP, fake("hello.html").page)
    assert not spoken, "it spoke with a foreign server"
    wanted = {"connect-src", "img-src", "script-src-elem", "style-src-elem"}
    until("what was not refused", lambda: wanted - set(tab.run("return refused")), set())
    assert tab.run("return window.pwned") is None, "a foreign script ran"


@pytest.mark.parametrize("name, talk", [
    ("hello", lambda socket: says(f"Hello {socket.recv()}!")(socket)), ("counter", COUNTING)])  # For time see test_time.py.
def test_text_of_twice_the_size_fits_a_phone(browser, fake, name, talk):
    tab = browser.open().open_framed(fake(f"{name}.html", talk))
    if name == "hello":
        tab.greet("x" * 500)
        tab.shows(".greeting", f"Hello {'x' * 500}!")
    tab.size(360)
    for size in (100, 200):
        tab.run("document.documentElement.style.fontSize = `${arguments[0]}%`", size)
        tab.fits(f"text of {size} % at 360 px")


# Of the drivers only Chromium's can force colours.
@pytest.mark.parametrize("running_browser", ["chromium"], indirect=True)
@pytest.mark.parametrize("name", PAGES)
def test_forced_colours_leave_the_buttons_and_the_dot(browser, fake, name):
    tab = browser.open(fake(f"{name}.html").page)
    forced = {"features": [{"name": "forced-colors", "value": "active"}]}
    tab.at().execute_cdp_cmd("Emulation.setEmulatedMedia", forced)
    assert tab.run("return matchMedia('(forced-colors: active)').matches")
    for part, pseudo in [(".link", "::before")] + [("button", None)] * (name != "time"):
        style = tab.run("""
            const style = getComputedStyle(document.querySelector(arguments[0]), arguments[1]);
            return [style.borderTopWidth, style.borderTopStyle, style.borderTopColor];
        """, part, pseudo)
        assert style[:2] not in (["0px", "solid"], ["0px", "none"]), f"{part} has no edge"
        assert style[2] not in ("rgba(0, 0, 0, 0)", tab.run("return getComputedStyle(document.body).backgroundColor"))


# --- axe, in each state a page can be in --------------------------------------------------------


def no_complaint(tab, axe, what):
    tab.run(axe)
    for scheme in ("light", "dark"):
        complaints = tab.wait_for("""
            document.documentElement.style.colorScheme = arguments[0];
            const { violations } = await axe.run({ resultTypes: ["violations"] });
            return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html)}`);
        """, scheme)
        assert complaints == [], f"{what}, {scheme}"


def test_axe_has_no_complaint_about_the_counter_in_any_state(browser, fake, axe):
    server = fake("counter.html", COUNTING)
    tab = browser.open(server.page).connected()
    tab.shows(".value", "42")
    no_complaint(tab, axe, "connected")
    tab.click(".plus")
    tab.shows(".notice", "no further")
    no_complaint(tab, axe, "with an error")
    server.stop()
    tab.shows(".status", "Connection lost")
    no_complaint(tab, axe, "lost")
    tab = browser.open(fake("counter.html", before="WebSocket = class { close() {} }").page)
    tab.shows(".status", "Connecting…")
    no_complaint(tab, axe, "connecting")
    tab = browser.open(fake("counter.html", says('{"type":"state","value":42}')).page)
    tab.shows(".value", "42")
    tab.click(".plus")
    until("the value's opacity", lambda: tab.run("return getComputedStyle(document.querySelector('.value')).opacity"), "0.6")
    no_complaint(tab, axe, "a click under way")


def test_axe_has_no_complaint_about_the_time_in_any_state(browser, fake, axe):
    server = fake("time.html", says(*["2026-11-22T22:24:47.819707Z"] * 3))
    tab = browser.open(server.page)
    tab.shows("li:last-child", re.compile("Z$"))
    no_complaint(tab, axe, "connected")
    server.stop()
    tab.shows(".status", "Connection lost")
    no_complaint(tab, axe, "lost")


def test_axe_has_no_complaint_about_hello_in_any_state(browser, program, fake, axe):
    def shows(tab, name, status):
        if name is not None:
            tab.greet(name)
        tab.shows(".status", re.compile(status))
        no_complaint(tab, axe, status)

    server = program("hello-server")
    tab = browser.open(server.page)
    shows(tab, None, "^Ready")
    shows(tab, "Ada " * 500, "^Greeted, then closed with code 1000")
    server.kill()
    shows(tab, "Ada", "^No answer")
    shows(browser.open(fake("hello.html").page), "Ada", "^Connected")
    refusing = fake("hello.html", lambda socket: socket.recv() and socket.close(1008, "not today"))
    shows(browser.open(refusing.page), "Ada", "^The server refused: code 1008 not today")
