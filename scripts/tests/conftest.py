"""What the tests share: the programs of the workspace, built, and started on free ports; a
certificate."""

import json
import signal
import subprocess

import pytest

pytest.register_assert_rewrite("programs")
from programs import ROOT, Program, free_port  # noqa: E402


def pytest_configure():
    # These end pytest as Ctrl-C does: the tests that run still end what they have started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


@pytest.fixture(scope="session")
def binaries():
    """The paths of the workspace's programs by their names."""
    command = "cargo build --locked --workspace --bins -p common --features common/make-cert --example make-cert"
    done = subprocess.run(
        [*command.split(), "--message-format=json"], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=1200
    )
    assert done.returncode == 0, "the workspace builds"
    messages = map(json.loads, done.stdout.splitlines())
    return {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}


@pytest.fixture
def start(tmp_path):
    """Starts a program, which ends with the test; what it complained of is shown at a failure."""
    started = []

    def start(*command, kind=Program, **options):
        started.append(kind(*command, cwd=tmp_path, **options))
        return started[-1]

    yield start
    for program in reversed(started):
        program.kill()
    for program in started:
        for line in program.complaint().splitlines()[-8:]:
            print(f"{program.name}: {line}")


@pytest.fixture
def program(start, binaries, certificates):
    """Starts one of our servers, on a port that it finds free again when it comes back."""

    def program(name, address=None, *flags):
        if name == "wss-server":
            flags = ["--cert", certificates[0], *flags]
        return start(binaries[name], address or f"127.0.0.1:{free_port()}", *flags).is_ready()

    return program


@pytest.fixture(scope="session")
def certificates(binaries, tmp_path_factory):
    """Two certificates for localhost, each with its key in a PEM file."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("used.pem", "other.pem"):
        subprocess.run([binaries["make-cert"], folder / name], stdout=subprocess.DEVNULL, check=True, timeout=60)
    return folder / "used.pem", folder / "other.pem"
