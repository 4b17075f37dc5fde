"""Several servers on one Redis, behind nginx, in three browsers."""

import re
import subprocess

import pytest
from pages.browsers import all_show, until
from programs import ROOT, answers, free_port, wait

NGINX = ROOT / "crates/counter-cluster/nginx.conf"


@pytest.fixture
def house(start, program, tmp_path):
    """Redis, two servers, and nginx before them, whose configuration may be changed."""

    def redis(port):
        server = start("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path)
        assert wait(lambda: answers(port))
        return server

    def house(*flags, change=("", "")):
        redis_port, port = free_port(), free_port()
        sharing = ["--redis", f"redis://127.0.0.1:{redis_port}/", "--redis-heartbeat", "1", *flags]
        folder = tmp_path / f"nginx-{port}"
        folder.mkdir()

        house.redis = redis(redis_port)
        house.redis_again = lambda: redis(redis_port)
        house.users = lambda: users(redis_port)
        house.nodes = [program("counter-cluster", None, *sharing) for _ in range(2)]
        site = NGINX.read_text()
        for old, new in [("listen 8080", f"listen 127.0.0.1:{port}"), change,
                         *zip(("127.0.0.1:7001", "127.0.0.1:7002"), (node.address for node in house.nodes))]:
            assert old in site, f"nginx.conf does not say {old}"
            site = site.replace(old, new)
        temporary = " ".join(f"{kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log stderr;"
            f" events {{}} http {{ access_log off; {temporary} {site} }}")
        start("nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr")
        assert wait(lambda: answers(port))
        house.page = f"http://127.0.0.1:{port}/"
        return house

    def users(port):
        nodes = subprocess.run(["redis-cli", "-p", f"{port}", "HVALS", "{counter}:nodes"], check=True, capture_output=True, text=True)
        return re.findall(r"^(\d+) ", nodes.stdout, re.M)

    return house


def test_browsers_behind_nginx_share_value_and_users(browser, house):
    house()
    tabs = [browser.open(house.page) for _ in range(2)]
    all_show(tabs, ".online", "2 users online")
    until("the users at each server", house.users, ["1", "1"])
    for n in range(1, 6):
        tabs[n % 2].click(".plus")
        all_show(tabs, ".value", f"{n}")


def test_a_browser_moves_when_its_server_is_killed(browser, house):
    house()
    tabs = [browser.open(house.page) for _ in range(4)]
    all_show(tabs, ".online", "4 users online")
    tabs[0].click(".plus")
    all_show(tabs, ".value", "1")
    house.nodes[0].kill()
    until("the users at each server", house.users, lambda users: "4" in users)
    all_show(tabs, ".status", "Connected")
    all_show(tabs, ".online", "4 users online")
    tabs[0].click(".minus")
    all_show(tabs, ".value", "0")


def test_pages_stay_connected_during_a_redis_outage(browser, house):
    house()
    tabs = one, two = browser.open(house.page).connected(), browser.open(house.page).connected()
    one.click(".plus")
    all_show(tabs, ".value", "1")
    house.redis.kill()
    all_show(tabs, ".notice", re.compile("^the shared counter is unreachable; this value"))
    all_show(tabs, ".status", "Connected")
    one.click(".plus")
    one.shows(".notice", "the shared counter is unreachable; try again")
    one.shows(".value", "1")
    house.redis_again()
    all_show(tabs, ".value", "0")  # Without its data: the true state is 0.
    all_show(tabs, ".notice", "")
    two.click(".minus")
    all_show(tabs, ".value", "-1")


@pytest.mark.parametrize("interval, cut", [("1", False), ("0", True)])
def test_nginx_cuts_idle_connections_only_without_pings(browser, house, interval, cut):
    house("--ping-interval", interval, change=("proxy_read_timeout 60s", "proxy_read_timeout 4s"))
    tab = browser.open(house.page).connected()
    assert tab.wait_for("""
        return new Promise((resolve) => {
            new MutationObserver(() => resolve(true)).observe(document.querySelector(".status"), { childList: true });
            setTimeout(() => resolve(false), 7_000);
        });
    """) == cut
