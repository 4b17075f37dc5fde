"""What crates/chat-server/deploy says, under the real systemd-analyze and the real nginx."""

import http.client
import json
import re
import socket
import ssl
import subprocess
import threading
import time
from contextlib import suppress

import pytest
from programs import ROOT, free_port, wait
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

DEPLOY = ROOT / "crates/chat-server/deploy"
ORIGIN = "https://chat.example"


def command_of_unit():
    """The command line in the unit."""
    unit = (DEPLOY / "chat-server.service").read_text().replace("\\\n", " ")
    return re.search(r"^ExecStart=(.*)$", unit, re.M)[1].split()


def test_systemd_takes_the_unit_and_finds_little_that_it_exposes(binaries, tmp_path):
    unit = tmp_path / "chat-server.service"
    text = (DEPLOY / "chat-server.service").read_text()
    assert "/usr/local/bin/chat-server" in text
    unit.write_text(text.replace("/usr/local/bin/chat-server", binaries["chat-server"]))
    verify = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    assert (verify.returncode, verify.stdout + verify.stderr) == (0, "")
    # 15 is 1.5 of 10; without its hardening the unit has 9.6.
    security = ["systemd-analyze", "security", "--offline=true", "--threshold=15", unit]
    assert subprocess.run(security, capture_output=True, timeout=60).returncode == 0
    unit.write_text(re.sub(r"^(Protect|Restrict|Capability|SystemCall|Private).*\n", "", unit.read_text(), flags=re.M))
    assert subprocess.run(security, capture_output=True, timeout=60).returncode != 0


class Site:
    """nginx with TLS before two places for a chat server."""

    def __init__(self, start, binary, folder):
        self.start, self.binary, self.data = start, binary, folder / "data"
        self.port, self.places = free_port(), [free_port(), free_port()]
        certificate, key = folder / "certificate.pem", folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
             "-subj", "/CN=chat.example", "-addext", "subjectAltName=DNS:chat.example", "-keyout", key, "-out", certificate],
            check=True, capture_output=True, timeout=60,
        )
        self.trust = ssl.create_default_context(cafile=certificate)
        site = (DEPLOY / "nginx.conf").read_text()
        for old, new in [("listen 443 ", f"listen 127.0.0.1:{self.port} "), ("/etc/ssl/chat.example.pem", certificate),
                         ("/etc/ssl/private/chat.example.pem", key),
                         ("127.0.0.1:7890", f"127.0.0.1:{self.places[0]}"), ("127.0.0.1:7891", f"127.0.0.1:{self.places[1]}")]:
            assert old in site, f"nginx.conf does not say {old}"
            site = site.replace(old, str(new))
        (folder / "nginx.conf").write_text(site)
        self.nginx = start("nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr", "-g",
                           f"daemon off; pid {folder}/nginx.pid;")

    def serve(self, place, *more):
        """Starts a server at one of the two places, with the flags of the unit and more."""
        flags = command_of_unit()[2:]
        flags[flags.index("--data") + 1] = self.data
        return self.start(self.binary, f"127.0.0.1:{self.places[place]}", *flags, *more)

    def invite(self, name):
        """The token of a link, which works once."""
        command = [self.binary, "--data", self.data, "--allow-origin", ORIGIN, "--invite", name]
        link = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
        return re.fullmatch(rf"{ORIGIN}/rooms/lobby#(\S+)\n", link)[1]

    def login(self, name):
        """The headers of the answer to a link."""
        answer = self.get("/rooms/lobby", **{"Chat-Login": f"invitation {self.invite(name)}"})
        assert answer.status == 200, answer.read()
        return answer.headers

    def dial(self):
        return socket.create_connection(("127.0.0.1", self.port), 10)

    def get(self, path, **headers):
        """The answer over https."""
        connection = http.client.HTTPSConnection("chat.example")
        connection.sock = self.trust.wrap_socket(self.dial(), server_hostname="chat.example")
        connection.request("GET", path, headers=headers)
        return connection.getresponse()

    def connect(self, cookie, query="", origin=ORIGIN):
        return connect(
            f"wss://chat.example/rooms/lobby{query}", sock=self.dial(),
            ssl=self.trust, origin=origin, additional_headers={"Cookie": cookie}, open_timeout=10, proxy=None,
        )

    def ready(self):
        with suppress(OSError):  # nginx may not listen yet
            return self.get("/readyz").status == 200


@pytest.fixture
def site(start, binaries, tmp_path):
    return Site(start, binaries["chat-server"], tmp_path)


def test_https_has_a_secure_cookie_and_origin_check(site):
    site.serve(0).is_ready()
    assert wait(site.ready)
    cookie, _, attributes = site.login("Ada")["Set-Cookie"].partition(";")
    assert attributes.endswith("; HttpOnly; SameSite=Strict; Secure")
    with site.connect(cookie) as ada:
        welcome = json.loads(ada.recv(10))
        assert welcome.pop("number") > 0 and welcome == {"type": "welcome", "name": "Ada"}
    for origin in ("https://evil.example", "http://localhost:7890", "null"):
        with pytest.raises(InvalidStatus, match="403"):
            site.connect(cookie, origin=origin)


def test_long_messages_are_compressed_through_nginx(site):
    site.serve(0).is_ready()
    assert wait(site.ready)
    cookie, _, _ = site.login("Ada")["Set-Cookie"].partition(";")
    with site.connect(cookie) as ada:
        assert ada.response.headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
        text = "to be or not to be " * 50 + "🦀"
        ada.send(json.dumps({"id": "1", "text": text}))
        while (event := json.loads(ada.recv(10)))["type"] != "message":
            pass
        assert event["text"] == text


class Page:
    """Does what web/chat.html does: reconnects with its last number, and repeats an unacknowledged message."""

    def __init__(self, site, name, cookie):
        self.site, self.name, self.cookie = site, name, cookie
        self.received, self.gaps, self.returns, self.sent = [], 0, -1, 0
        self.enough = threading.Event()  # Its next message is the last one.
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def ends(self):
        return [name for _, name, text in self.received if text == "end"]

    def run(self):
        while len(self.ends()) < 3:
            try:
                query = f"?since={self.received[-1][0]}" if self.received else ""
                with self.site.connect(self.cookie, query) as socket:
                    self.returns += 1
                    self.exchange(socket)
            except (ConnectionClosed, InvalidStatus, OSError):
                time.sleep(0.05)

    def exchange(self, socket):
        text = str(self.sent)
        while len(self.ends()) < 3:
            event = json.loads(socket.recv(20))
            self.gaps += event["type"] == "gap"
            if event["type"] == "message":
                # The history had this message already. It is also the answer to the repeated one.
                is_old = self.received and event["number"] <= self.received[-1][0]
                if is_old and event["name"] == self.name:
                    continue
                self.received.append((event["number"], event["name"], event["text"]))
                if event["name"] == self.name and event["text"] == text:
                    self.sent += 1
                    text = "end" if self.enough.is_set() else str(self.sent)
                    time.sleep(0.005)
            if event.get("name") == self.name and self.name not in self.ends():
                socket.send(json.dumps({"id": str(self.sent), "text": text}))


def test_a_rolling_restart_loses_no_message(site):
    old = site.serve(0, "--rate", "1000").is_ready()
    assert wait(site.ready)
    # No page waits for the login of another one, so that all of them receive the whole history.
    cookies = {name: site.login(name)["Set-Cookie"].partition(";")[0] for name in ("Ada", "Bob", "Eve")}
    pages = [Page(site, *login) for login in cookies.items()]

    def all_post():
        target = [page.sent + 20 for page in pages]
        assert wait(lambda: all(page.sent >= sent for page, sent in zip(pages, target)))

    for place in (1, 0):
        all_post()
        new = site.serve(place, "--rate", "1000")  # It waits until the old one has closed the database.
        assert old.stop() == 0
        old = new.is_ready()
    all_post()
    for page in pages:
        page.enough.set()
    for page in pages:
        page.thread.join(60)
    assert [page.returns for page in pages] == [2, 2, 2]
    assert [page.gaps for page in pages] == [0, 0, 0]
    assert pages[0].received == pages[1].received == pages[2].received
    for page in pages:
        texts = [text for _, name, text in pages[0].received if name == page.name]
        assert texts == [*map(str, range(page.sent - 1)), "end"]
    numbers = [number for number, _, _ in pages[0].received]
    assert numbers == sorted(set(numbers))
