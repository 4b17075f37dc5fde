"""The tree that the texts are about: its files and its programs."""

import functools
import json
import os
import pathlib
import re
import subprocess


class Tree:
    def __init__(self, root):
        self.root = pathlib.Path(root)

    @functools.cached_property
    def files(self):
        """What is tracked, or would be: neither what is built nor what is ignored."""
        if not (self.root / ".git").exists():
            found = (file for file in self.root.rglob("*") if file.is_file())
            names = (str(file.relative_to(self.root)) for file in found)
            return [name for name in names if not name.startswith("target/")]
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=self.root, stdout=subprocess.PIPE, check=True, text=True)
        names = filter(None, listed.stdout.split("\0"))
        return [name for name in names if (self.root / name).is_file()]

    @functools.cached_property
    def paths(self):
        """The files and the folders that they are in."""
        folders = {str(parent) for name in self.files for parent in pathlib.PurePath(name).parents}
        return set(self.files) | folders

    def read(self, name):
        return (self.root / name).read_text(encoding="utf-8")

    def lines(self, name):
        """The lines of a file; None if there is no such file."""
        return self.read(name).removesuffix("\n").split("\n") if name in self.files else None

    def texts(self):
        return sorted(name for name in self.files if name.endswith(".md"))

    @functools.cached_property
    def metadata(self):
        return json.loads(self.output("cargo", "metadata", "--no-deps", "--format-version=1"))

    def targets(self, package, kind):
        """The names of a package's targets of a kind: bin, example. None: no such package."""
        for found in self.metadata["packages"]:
            if found["name"] == package:
                return [t["name"] for t in found["targets"] if kind in t["kind"]]
        return None

    @functools.cached_property
    def helps(self):
        """What the programs say at --help, by their names. Builds them."""
        subprocess.run(["cargo", "build", "--quiet", "--locked", "--workspace", "--bins"], cwd=self.root, check=True)
        packages = [package["name"] for package in self.metadata["packages"]]
        programs = [name for package in packages for name in self.targets(package, "bin")]
        folder = os.path.join(self.metadata["target_directory"], "debug")
        return {name: self.output(os.path.join(folder, name), "--help") for name in sorted(programs)}

    def default_ports(self):
        """The ports that the servers listen on unless they are told another one."""
        defaults = {
            name: re.search(r"^ *\[ADDRESS\].*\[default: .*:(\d+)\]", text, re.MULTILINE)
            for name, text in self.helps.items()
        }
        return {name: int(found[1]) for name, found in defaults.items() if found}

    @functools.cache
    def cargo_help(self, subcommand):
        return self.output("cargo", subcommand, "-h")

    def output(self, *command):
        env = {**os.environ, "NO_COLOR": "1", "CARGO_TERM_COLOR": "never"}
        run = subprocess.run(
            command, cwd=self.root, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=60
        )
        return run.stdout if run.returncode == 0 else ""
