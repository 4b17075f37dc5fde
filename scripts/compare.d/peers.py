"""The servers that are compared: how to install each, and how to start it."""

import dataclasses
import json
import os
import pathlib
import subprocess
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "compare"


@dataclasses.dataclass
class Peer:
    name: str
    what: str  # for people, with the version
    command: list
    folder: pathlib.Path = ROOT


def run(*command, **options):
    """Runs a command and returns its output. An exception contains its error messages."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip() or done.stdout.strip()).splitlines()[-1])
    return done.stdout.strip()


def cpus():
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}


def build():
    """Builds our programs and returns their paths by their names."""
    command = ["cargo", "build", "--locked", "--release", "--message-format=json"]
    command += ["--package=counter-server", "--package=counter-load"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    messages = map(json.loads, built.stdout.splitlines())
    return {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}


def ours(programs):
    version = run("git", "-C", ROOT, "describe", "--always", "--dirty")
    return Peer("ours", f"counter-server {version}", [programs["counter-server"], "127.0.0.1:0"])


def python(_):
    venv = TARGET / "venv"
    program = venv / "bin" / "python"
    if not program.exists():
        run("python3", "-m", "venv", venv)
    run(program, "-m", "pip", "install", "--quiet", "--upgrade", "websockets")
    ask = "import platform, websockets; print(platform.python_version(), websockets.__version__)"
    python, websockets = run(program, "-c", ask).split()
    return Peer("python", f"Python {python}, websockets {websockets}", [program, HERE / "python.py"])


def npm(package):
    """Installs a package and returns its folder's parent's parent, and its version."""
    folder = TARGET / "npm" / package
    folder.mkdir(parents=True, exist_ok=True)
    run("npm", "install", "--no-audit", "--no-fund", "--prefix", folder, f"{package}@latest")
    manifest = folder / "node_modules" / package / "package.json"
    return folder, json.loads(manifest.read_text())["version"]


def node(_):
    folder, version = npm("ws")
    what = f"Node {run('node', '--version').removeprefix('v')}, ws {version}"
    return Peer("node", what, ["node", HERE / "node.mjs"], folder)


def bun(_):
    folder, version = npm("bun")
    program = (folder / "node_modules" / "bun" / "bin" / "bun.exe").resolve()
    run(program, "--version")
    return Peer("bun", f"Bun {version}", [program, HERE / "bun.js"])


def rust(name, package):
    folder = HERE / "rust"
    target = TARGET / "rust"
    environment = os.environ | {"CARGO_TARGET_DIR": str(target)}
    run("cargo", "build", "--quiet", "--locked", "--release", cwd=folder, env=environment)
    lock = tomllib.loads((folder / "Cargo.lock").read_text())
    # axum brings a tokio-tungstenite of its own; the newest is the one that we name.
    version = max((p["version"] for p in lock["package"] if p["name"] == package), key=numbers)
    return version, Peer(name, "", [target / "release" / name])


def numbers(version):
    return [int(number) for number in version.split(".") if number.isdigit()]


def axum(_):
    version, peer = rust("axum", "axum")
    return dataclasses.replace(peer, what=f"axum {version}, its chat example's way")


def chat(_):
    version, peer = rust("chat", "tokio-tungstenite")
    return dataclasses.replace(peer, what=f"tokio-tungstenite {version}, its chat example's way")


def install(only=None):
    """Returns counter-load's path, the peers, and the names of those left out with the reasons."""
    programs = build()
    there, left_out = [], []
    for peer in (ours, python, node, bun, axum, chat):
        if only and peer.__name__ not in only:
            continue
        try:
            there.append(peer(programs))
            print(f"{there[-1].name}: {there[-1].what}", flush=True)
        except (OSError, RuntimeError) as error:
            left_out.append((peer.__name__, f"cannot be installed: {error}"))
            print(f"{peer.__name__} is left out, it cannot be installed: {error}", flush=True)
    return programs["counter-load"], there, left_out
