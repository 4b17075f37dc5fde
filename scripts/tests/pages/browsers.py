"""Three browsers by WebDriver: their windows, and what a reader sees and does in them."""

import glob
import inspect
import os
import re
import shutil

from programs import PATIENCE, wait
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

# What a browser itself writes to its console while there is no server is no fault of a page.
NO_SERVER = re.compile(
    r"WebSocket connection to .* failed|net::ERR_|can.t establish a connection|was interrupted while the page"
    r"|Failed to load resource: (Could not connect|The network|Connection|Socket)|NetworkError"
    r"|(Fetch API cannot load|due to access control checks)", re.S
)

# What a page must never take for more than text.
MARKUP = '<img src=x onerror="window.pwned = true"><b>bold</b>'


def until(what, read, wanted, limit=PATIENCE):
    """Reads again and again until what is read is as wanted: a value, a pattern, a condition."""
    seen = None

    def fits():
        nonlocal seen
        seen = read()
        if isinstance(wanted, re.Pattern):
            return seen is not None and wanted.search(seen)
        return wanted(seen) if callable(wanted) else seen == wanted

    # Of a condition its source is what can be read.
    said = f"as in: {inspect.getsource(wanted).strip()}" if callable(wanted) else f"{getattr(wanted, 'pattern', wanted)!r}"
    assert wait(fits, limit), f"{what} is {seen!r}, not {said}, after {limit} s"
    return seen


class Tab:
    """One window of a browser, and what its reader sees and does."""

    def __init__(self, driver, handle):
        self.driver, self.handle, self.framed = driver, handle, False

    def at(self):
        """The driver, turned to this window."""
        self.driver.switch_to.window(self.handle)
        if self.framed:
            self.driver.switch_to.frame(0)
        return self.driver

    def open(self, url):
        self.at().get(url)
        return self

    def run(self, script, *arguments):
        return self.at().execute_script(script, *arguments)

    def wait_for(self, script, *arguments):
        """What the body of an async function comes to."""
        return self.run(f"return (async (...arguments) => {{ {script} }})(...arguments)", *arguments)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.textContent", selector)

    def shows(self, selector, wanted, limit=PATIENCE):
        return until(selector, lambda: self.text(selector), wanted, limit)

    def connected(self, limit=PATIENCE):
        self.shows(".status", "Connected", limit)
        return self

    def finds_nobody(self, address):
        self.shows(".status", f"No answer from ws://{address}/")
        self.shows(".notice", "Cannot connect. Is the server running? If so, its log says why it rejected this page.")
        self.shows(".hint", re.compile(r"^– next try in \d+ s$"))

    def find(self, selector):
        return self.at().find_element(By.CSS_SELECTOR, selector)

    def click(self, selector):
        self.find(selector).click()

    def press(self, *keys):
        ActionChains(self.at(), duration=0).send_keys(*keys).perform()

    def greet(self, name):
        """Puts in a name, for which a driver may have no keys, and sends it."""
        self.run("document.querySelector('input').value = arguments[0]", name)
        self.click("form button")

    def open_framed(self, server):
        """Opens the page of a stand-in in a frame: windows of a phone's width exist in there only."""
        self.framed = False
        self.open(server.page + "frame")
        self.framed = True
        return self

    def size(self, width):
        """Makes the frame so wide."""
        self.framed = False
        self.run("document.querySelector('iframe').style.width = `${arguments[0]}px`", width)
        self.framed = True
        until("the page's width", lambda: self.run("return innerWidth"), width)

    def fits(self, what):
        """Nothing in the page is wider than its place."""
        assert self.run("""
            return [document.documentElement, ...document.querySelectorAll("body *")]
                .filter((part) => part.tagName !== "INPUT" && getComputedStyle(part).display !== "inline"
                    && part.scrollWidth > Math.max(part.clientWidth, 1))
                .map((part) => `${part.tagName}.${part.className} ${part.scrollWidth} > ${part.clientWidth}`)
        """) == [], f"{what}: wider than its place"

    def has_no_markup(self):
        """What came from the server stayed text; see MARKUP."""
        assert self.run("return window.pwned") is None, "a script from a message ran"
        assert self.run("return document.querySelectorAll('img, b').length") == 0, "markup from a message became elements"

    def close(self):
        self.at().close()


def all_show(tabs, selector, wanted):
    for tab in tabs:
        tab.shows(selector, wanted)


def used(name, tab):
    """The page has spoken with its server."""
    if name == "hello":
        tab.greet("Ada")
        tab.shows(".greeting", "Hello Ada!")
    elif name == "time":
        tab.shows("li:last-child", re.compile("Z$"))
    else:
        tab.shows(".value", "0")
        tab.click(".plus")
        tab.shows(".value", "1")


class Browser:
    """A running browser: its windows, and its console."""

    def __init__(self, engine, folder, **options):
        self.engine, self.log = engine, folder / f"{engine}.log"
        self.driver = START[engine](str(self.log), **options)
        self.first, self.read = self.driver.current_window_handle, 0

    def open(self, url=None):
        self.driver.switch_to.window(self.first)
        self.driver.switch_to.new_window("window")
        tab = Tab(self.driver, self.driver.current_window_handle)
        return tab.open(url) if url else tab

    def problems(self):
        """What the console has complained of since it was asked last."""
        if self.engine == "chromium":
            lines = [entry["message"] for entry in self.driver.get_log("browser")]
        else:  # Firefox writes it to its stdout, with what its own parts say; WebKit nowhere.
            with self.log.open(errors="replace") as log:
                log.seek(self.read)
                lines = re.findall(r"JavaScript error: (?:http|file).*", log.read())
                self.read = log.tell()
        return [line for line in lines if not NO_SERVER.search(line)]

    def clean(self):
        for handle in self.driver.window_handles:
            if handle != self.first:
                self.driver.switch_to.window(handle)
                self.driver.delete_all_cookies()  # Those of every chat would not fit into a request.
                self.driver.close()
        self.driver.switch_to.window(self.first)

    def quit(self):
        self.driver.quit()


def chromium(log, pin=None):
    options = webdriver.ChromeOptions()
    options.binary_location = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    # Without most of these it calls home at every start, and waits where there is no way out.
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
                 "disable-background-networking", "disable-component-update"):
        options.add_argument(f"--{flag}")
    if pin:
        options.add_argument(f"--ignore-certificate-errors-spki-list={pin}")
    options.set_capability("goog:loggingPrefs", {"browser": "WARNING"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    return webdriver.Chrome(options, service)


def firefox(log, trusting=False):
    options = webdriver.FirefoxOptions()
    options.binary_location = shutil.which("firefox-esr") or shutil.which("firefox")
    options.add_argument("-headless")
    options.accept_insecure_certs = trusting
    options.set_preference("devtools.console.stdout.content", True)
    options.set_preference("network.websocket.delay-failed-reconnects", False)  # else up to 60 s
    return webdriver.Firefox(options, webdriver.FirefoxService(shutil.which("geckodriver"), log_output=log))


def webkit(log, trusting=False):
    options = webdriver.WebKitGTKOptions()
    options.binary_location = glob.glob("/usr/lib/*/webkit2gtk-4.*/MiniBrowser")[0]
    options.add_argument("--automation")
    options.accept_insecure_certs = trusting
    service = webdriver.WebKitGTKService(shutil.which("WebKitWebDriver"), log_output=log)
    return webdriver.WebKitGTK(options, service)


START = {"chromium": chromium, "firefox": firefox, "webkit": webkit}
