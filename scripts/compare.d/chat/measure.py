#!/usr/bin/env python3
"""Compares chat-server with axum's chat pattern and Socket.IO: one room, one client that sends.

    scripts/compare.d/chat/measure.py [--clients 1000] [--in-flight 64] [--seconds 10] [--rounds 3]

Prints a table: CPU of the server per delivery, how long a delivery takes, memory, and the same with
ten more who never read. The rounds take turns, so that what else the machine does hits all alike.
Needs Cargo and npm. chat-server also writes everything down; the others do not.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()


def start(command, folder):
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    line = server.stdout.readline()
    assert line.startswith("listening on "), line
    return server, line.split()[2]


def header(chat, folder, name):
    token = subprocess.run([chat, "--data", folder, "--token", name], capture_output=True, text=True, check=True)
    return f"Authorization: Bearer {token.stdout.strip()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, default in [("--clients", 1000), ("--in-flight", 64), ("--seconds", 10), ("--rounds", 3)]:
        parser.add_argument(flag, type=int, default=default)
    given = parser.parse_args()
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--release", "-p", "chat-server"], cwd=ROOT, check=True)
    environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET / "compare-chat")}
    subprocess.run(["cargo", "build", "--quiet", "--release"], cwd=HERE, check=True, env=environment)
    node = TARGET / "compare-chat" / "node"
    node.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "socketio.mjs"):
        (node / name).write_text((HERE / name).read_text())
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=node, check=True)
    chat, axum, load = TARGET / "release/chat-server", *(TARGET / "compare-chat/release" / n for n in ("axum-chat", "load"))

    found = {}
    for _ in range(given.rounds):
        for slow in (0, 10):
            for name in ("chat-server", "axum", "socket.io"):
                with tempfile.TemporaryDirectory() as folder:
                    headers = ["-"]
                    if name == "chat-server":
                        flags = ["--data", folder, "--rate", "1000000"]
                        server, url = start([chat, "127.0.0.1:0", *flags], folder)
                        # The chat accepts ten connections of one name.
                        headers = [header(chat, folder, f"P{n}") for n in range((given.clients + slow + 9) // 10)]
                        kind, path = "chat", "/rooms/lobby"
                    elif name == "axum":
                        server, url = start([axum], folder)
                        kind, path = "plain", "/rooms/lobby"
                    else:
                        server, url = start(["node", "socketio.mjs"], node)
                        kind, path = "socketio", "/socket.io/?EIO=4&transport=websocket"
                    command = [load, url + path, "\n".join(headers), kind, server.pid, given.clients, given.in_flight, given.seconds, slow]
                    try:
                        out = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=300)
                        found.setdefault((slow, name), []).append(json.loads(out.stdout))
                    finally:
                        server.kill()
                        server.wait()
    print("| clients that never read | server | deliveries/s | CPU per delivery, µs | p50, ms | p99, ms | memory idle → loaded, MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for (slow, name), rounds in found.items():
        middle = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        print(f"| {slow} | {name} | {middle['deliveries_per_second']:,.0f} | {middle['cpu_us']:.2f} | {middle['p50_ms']} | "
              f"{middle['p99_ms']} | {middle['idle_mib']} → {middle['mib']} |")


if __name__ == "__main__":
    main()
