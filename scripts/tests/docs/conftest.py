"""What the texts' commands need: built programs, and the default ports for themselves."""

import fcntl
import re
import subprocess

import pytest

for module in ("programs", "session", "tree"):
    pytest.register_assert_rewrite(module)
from programs import ROOT, answers  # noqa: E402


@pytest.fixture(scope="session")
def helps(binaries):
    """What the programs say at --help, by their names."""
    said = {}
    for name in sorted(binaries.keys() - {"make-cert"}):
        command = [binaries[name], "--help"]
        said[name] = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout
    return said


@pytest.fixture(scope="session")
def ports(helps):
    """The servers' default ports, free. One run at a time has them, and the copy of the tree."""
    found = {name: re.search(r"\[ADDRESS\][^\[]*\[default: .*:(\d+)\]", text) for name, text in helps.items()}
    ports = {name: int(match[1]) for name, match in found.items() if match}
    folder = ROOT / "target/docs"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        busy = [port for port in sorted(set(ports.values())) if answers(port)]
        assert not busy, f"end what listens on {busy} (`ss -ltnp` names it), then try again"
        yield ports
