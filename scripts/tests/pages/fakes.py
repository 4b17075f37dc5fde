"""A stand-in for a server, which says what a test wants a page to hear."""

import contextlib
import re
import threading
from socket import SHUT_RDWR

from programs import ROOT
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.sync.server import serve

WEB = ROOT / "web"
FRAME = b"""<!doctype html><title>Frame</title><link rel=icon href=data:,>
<iframe src="/" style="width: 1280px; height: 740px; border: 0"></iframe>"""
# Gathers in `heard` what a page says of its connection, however short a time it says it.
LISTEN = """window.heard = [];
    new MutationObserver(() => heard.push(document.querySelector(".link")?.textContent ?? ""))
        .observe(document, { childList: true, characterData: true, subtree: true });"""


def says(*messages, answer=None):
    """A talk: says all this, then the answer to each message."""
    def talk(socket):
        for message in messages:
            socket.send(message)
        for _ in socket:
            if answer:
                socket.send(answer)

    return talk


class Fake:
    """A server that serves a page, ours or one that is given, and gives each socket to `talk`."""

    def __init__(self, page, talk=says(), before="", host="127.0.0.1"):
        self.asked, self.connected, self.sockets = [], [], []  # The paths, of pages and of WebSockets
        source = page if "<" in page else (WEB / page).read_text()
        if before:  # What is to run before the page's own script, which its policy would not let in.
            source = re.sub(r"<meta http-equiv.*?>\n", "", source, flags=re.S)
            source = source.replace("<style>", f"<script>{before}</script><style>", 1)
        page_itself = source.encode()

        def answer(connection, request):
            upgrade = "upgrade" in request.headers.get("Connection", "").lower()
            (self.connected if upgrade else self.asked).append(request.path)
            if upgrade:
                return None
            body = FRAME if request.path == "/frame" else page_itself
            kind = Headers({"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(body))})
            return Response(200, "OK", kind, body)

        def handle(socket):
            self.sockets.append(socket)
            with contextlib.suppress(Exception):  # A page may leave at any time.
                talk(socket)

        self.server = serve(handle, host, 0, process_request=answer, compression=None)
        self.page = f"http://{host}:{self.server.socket.getsockname()[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def send(self, message):
        """To who came last, beside what the talk says."""
        self.sockets[-1].send(message)

    def stop(self):
        for socket in self.sockets:  # Without them it would wait for their last words.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(SHUT_RDWR)
        self.server.shutdown()
