"""What the tests of the pages are given: a browser of each engine, servers, and stand-ins."""

import os
import re
import runpy
from pathlib import Path

import pytest
from programs import ROOT, Program

pytest.register_assert_rewrite("pages.browsers")
from pages.browsers import START, Browser  # noqa: E402
from pages.fakes import WEB, Fake  # noqa: E402

with_hashes = runpy.run_path(str(ROOT / "scripts" / "csp"))["with_hashes"]


def pytest_collection_modifyitems(items):
    """Where tests run side by side, each engine has a process of its own."""
    for item in items:
        if engine := getattr(item, "callspec", None) and item.callspec.params.get("running_browser"):
            item.add_marker(pytest.mark.xdist_group(engine))


@pytest.fixture(scope="session")
def display(tmp_path_factory):
    """A screen that nobody sees, for WebKit, which cannot do without."""
    server = Program("Xvfb", "-displayfd", "1", "-screen", "0", "1400x1000x24", "-nolisten", "tcp")
    os.environ["DISPLAY"] = f":{server.line()}"
    os.environ["LC_ALL"] = "C.UTF-8"  # The pages follow the browser's language, and the tests read English.
    yield
    server.kill()


@pytest.fixture(scope="session", params=START)
def running_browser(request, tmp_path_factory, display):
    browser = Browser(request.param, tmp_path_factory.mktemp(request.param))
    yield browser
    browser.quit()


@pytest.fixture
def browser(running_browser):
    """A browser; its windows close with the test, and its console is then looked through."""
    running_browser.problems()
    running_browser.expected = None
    yield running_browser
    problems = running_browser.problems()
    running_browser.clean()
    expected = running_browser.expected
    assert not [line for line in problems if not (expected and re.search(expected, line))], "the console is silent"


@pytest.fixture
def another_browser(running_browser, tmp_path):
    """Starts one more browser of the same engine, with its own trust."""
    started = []

    def start(**options):
        started.append(Browser(running_browser.engine, tmp_path, **options))
        return started[-1]

    yield start
    for browser in started:
        browser.quit()


@pytest.fixture
def fake():
    started = []

    def start(*arguments, **options):
        started.append(Fake(*arguments, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def as_file(tmp_path):
    """The address of a page as a file; with a port, of one that looks for its server there."""

    def as_file(name, port=None):
        source = (WEB / f"{name}.html").read_text()
        if port:
            default = re.search(r'fileUrl = "ws://[^:]+:(\d+)/"', source)[1]
            source = with_hashes(source.replace(f":{default}", f":{port}"))
        path = tmp_path / f"{name}.html"
        path.write_text(source)
        return path.as_uri()

    return as_file


@pytest.fixture(scope="session")
def axe():
    """The source of axe-core."""
    return Path(os.environ.get("AXE", ROOT / "target/node/node_modules/axe-core/axe.min.js")).read_text()


@pytest.fixture
def foreign(fake):
    """The address of a page that none of our servers has served."""
    return fake("<!doctype html><title>Foreign</title><link rel=icon href=data:,><body>", host="127.0.0.4").page
