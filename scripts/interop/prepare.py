"""What has to be there before the checks: the libraries of others, which are installed into
the work folder if they are not there yet, and certificates."""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMIT = 300  # seconds for one call of pip, npm or make-cert


class CannotPrepare(Exception):
    pass


def command(*words):
    """Run a command to its end; what it printed is worth showing only when it failed."""
    words = [str(word) for word in words]
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=LIMIT,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotPrepare(str(error)) from None
    if done.returncode != 0:
        raise CannotPrepare(f"`{' '.join(words)}` failed:\n{done.stdout.strip()}")
    return done.stdout.strip()


def python_websockets(requirements, folder):
    """A virtual environment with one release of websockets: its Python, and the release."""
    pinned = (HERE / requirements).read_text().split("==")[-1].strip()
    python = folder / "bin" / "python"
    try:
        ask = "import importlib.metadata as m; print(m.version('websockets'))"
        installed = command(python, "-c", ask)
    except CannotPrepare:
        installed = None
    if installed != pinned:
        try:
            venv.create(folder, clear=True, with_pip=True)
        except subprocess.CalledProcessError:
            raise CannotPrepare(
                "Python's venv has no pip here (on Debian: apt-get install python3-venv)"
            ) from None
        command(
            python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--requirement", HERE / requirements,
        )
    return python, pinned


def node_ws(folder):
    """Node ws of the release that package.json names: its node_modules, and the release."""
    pinned = json.loads((HERE / "package.json").read_text())["dependencies"]["ws"]
    modules = folder / "node_modules"
    try:
        installed = json.loads((modules / "ws" / "package.json").read_text())["version"]
    except OSError:
        installed = None
    if installed != pinned:
        for program in ["node", "npm"]:
            if not shutil.which(program):
                raise CannotPrepare(f"there is no `{program}` on PATH (Node 18 or newer has both)")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "package.json", folder)
        command(
            "npm", "install", "--prefix", folder, "--no-package-lock", "--ignore-scripts",
            "--no-audit", "--no-fund", "--loglevel=error",
        )
    return modules, pinned


def certificate(binaries, pem):
    """A certificate for localhost and its key, in a PEM file, as wss-server makes them."""
    built = binaries / "examples" / "make-cert"
    # The script builds it first, which takes its time.
    command(built if built.exists() else HERE.parent / "make-cert", pem)
    return pem


if sys.version_info < (3, 11):
    sys.exit("Python 3.11 or newer is needed: the newest websockets runs on nothing older.")
