"""The tree that the texts are about, and the listings that they take from it."""

import difflib
import functools
import re
import subprocess
from pathlib import PurePath

from text import Text

ANY = "…"


class Tree:
    def __init__(self, root, files):
        self.root, self.files = root, sorted(files)
        self.paths = {str(folder) for name in files for folder in PurePath(name).parents} | set(files)
        self.texts = [Text(name, self.read(name)) for name in self.files if name.endswith(".md")]

    @staticmethod
    @functools.cache
    def of_git(root):
        """What is tracked, or would be: neither what is built nor what is ignored."""
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True, text=True, timeout=60)
        return Tree(root, [name for name in listed.stdout.split("\0") if name and (root / name).is_file()])

    def read(self, name):
        return (self.root / name).read_text(encoding="utf-8")

    def lines(self, name):
        assert name in self.files, f"there is no file {name}"
        return self.read(name).removesuffix("\n").split("\n")

    @functools.cached_property
    def tests(self):
        """The names of all tests."""
        below = re.compile(r"#\[(?:tokio::)?test\b.*?\]\s*(?:(?:#\[[^\]]*\]|//[^\n]*)\s*)*(?:async )?fn (\w+)", re.DOTALL)
        rust = (self.read(name) for name in self.files if name.startswith("crates/") and name.endswith(".rs"))
        python = (self.read(name) for name in self.files if name.startswith("scripts/") and name.endswith(".py"))
        return {t for code in rust for t in below.findall(code)} | {
            t for code in python for t in re.findall(r"def (test_\w+)", code)
        }


def pattern(lines):
    """`…` stands for anything within a line; alone on a line, for any number of lines."""
    parts = []
    for line in map(str.rstrip, lines):
        within = r"[^\n]*".join(map(re.escape, line.split(ANY))) + r"\n"
        parts.append(r"(?:[^\n]*\n)*?" if line.strip() == ANY else within)
    return re.compile("".join(parts))


def joined(lines):
    return "".join(line.rstrip() + "\n" for line in lines)


def difference(expected, actual):
    """What the text says (-) and what is there (+), for a failure."""
    lines = list(difflib.unified_diff([l.rstrip() for l in expected], [l.rstrip() for l in actual], n=1, lineterm=""))
    return "\n".join(["- is in the text, + is there", *lines[3:40]])


def dedent(lines):
    """The lines without the indentation that they have in common, and how much that was."""
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [line[indent:].rstrip() for line in lines], indent


def places(wanted, lines):
    """Where `wanted` stands in `lines`, at whatever indentation."""
    wanted, size = dedent(wanted)[0], len(wanted)
    return [at for at in range(len(lines) - size + 1) if dedent(lines[at : at + size])[0] == wanted]


def nearest(wanted, lines):
    """The lines that resemble `wanted` most, to show how they differ."""
    wanted, size = dedent(wanted)[0], len(wanted)
    windows = [dedent(lines[at : at + size])[0] for at in range(max(1, len(lines) - size + 1))]
    return max(windows, key=lambda window: sum(a == b != "" for a, b in zip(window, wanted)))


def check_listing(fence, tree):
    if name := fence.marks.get("all of"):
        lines = tree.lines(name)
        assert fence.lines == lines, f"the listing equals {name}: {difference(fence.lines, lines)}"
    elif name := fence.marks.get("part of"):
        lines = tree.lines(name)
        assert any(fence.lines), "the listing is not empty"
        near = difference(dedent(fence.lines)[0], nearest(fence.lines, lines))
        assert places(fence.lines, lines), f"the listing is a part of {name}: {near}"
    else:
        marks = {"sh": {"sh"}, "mermaid": {"mermaid"}}.get(fence.language, set())
        marks = marks | fence.marks.keys() & {"not a listing", "the server also prints", "patch"}
        assert marks or fence.explained, (
            f"a fence of {fence.language or 'no language'} needs a mark: "
            "<!-- all of: FILE -->, <!-- part of: FILE --> or <!-- not a listing: REASON -->"
        )


def patched(lines, diff):
    """The lines with the change made, at whatever indentation."""
    assert all(line[:1] in ("", " ", "-", "+") for line in diff), "a line of a diff begins with a space, - or +"
    bodies, indent = dedent([line[1:] for line in diff])
    signed = [(line[:1] or " ", body) for line, body in zip(diff, bodies)]
    old = [body for sign, body in signed if sign != "+"]
    new = [body for sign, body in signed if sign != "-"]
    assert any(old) and old != new, "a diff has lines to find and lines to change"
    found = places(old, lines)
    assert found, f"the change fits: {difference(dedent(old)[0], nearest(old, lines))}"
    assert len(found) == 1, f"the change fits once, not at the lines {[at + 1 for at in found]}; add context"
    at, size = found[0], len(old)
    shift = dedent(lines[at : at + size])[1] - dedent(old)[1]
    moved = [line and (" " * shift + line if shift > 0 else line[-shift:]) for line in new]
    return lines[:at] + moved + lines[at + size :]
