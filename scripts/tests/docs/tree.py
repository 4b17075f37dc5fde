"""The tree that the texts are about, and the listings that they take from it."""

import difflib
import functools
import re
import subprocess
import textwrap
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

    @property
    def originals(self):
        """The texts that are not translations: their commands are run."""
        return [text for text in self.texts if ".zh-" not in text.name]

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
    return textwrap.dedent("\n".join(lines)).split("\n")


def places(wanted, lines):
    """Where `wanted` stands in `lines`, at whatever indentation; if nowhere, how what resembles it
    most differs."""
    wanted, size = dedent(wanted), len(wanted)
    windows = [dedent(lines[at : at + size]) for at in range(max(1, len(lines) - size + 1))]
    found = [at for at, window in enumerate(windows) if window == wanted]
    assert found, difference(wanted, max(windows, key=lambda window: sum(a == b != "" for a, b in zip(window, wanted))))
    return found


def check_listing(fence, tree):
    if name := fence.marks.get("all of"):
        lines = tree.lines(name)
        assert fence.lines == lines, f"the listing equals {name}: {difference(fence.lines, lines)}"
    elif name := fence.marks.get("part of"):
        assert any(fence.lines), "the listing is not empty"
        places(fence.lines, tree.lines(name))
    else:
        marks = {"sh": {"sh"}, "mermaid": {"mermaid"}}.get(fence.language, set())
        marks = marks | fence.marks.keys() & {"not a listing", "the server also prints", "patch"}
        assert marks or fence.explained, (
            f"a fence of {fence.language or 'no language'} needs a mark: "
            "<!-- all of: FILE -->, <!-- part of: FILE --> or <!-- not a listing: REASON -->"
        )


def check_translation(text, original):
    """A translated chapter has the headings and fences of the original, with the same lines, in the same order."""
    for ours, theirs in zip(text.blocks, original.blocks):
        shown, wanted = ((b.word, b.language, b.lines, b.marks) for b in (ours, theirs))
        assert shown == wanted, f"line {ours.line} has the block of {original.name}:{theirs.line}"
    assert len(text.blocks) == len(original.blocks), f"it has as many headings and fences as {original.name}"


def patched(lines, diff):
    """The lines with the change made, at whatever indentation."""
    signs, bodies = [line[:1] or " " for line in diff], dedent([line[1:] for line in diff])
    assert set(signs) <= set(" -+"), "a line of a diff begins with a space, - or +"
    old, new = ([body for sign, body in zip(signs, bodies) if sign != other] for other in "+-")
    assert any(old) and old != new, "a diff has lines to find and lines to change"
    found = places(old, lines)
    assert len(found) == 1, f"the change fits once, not at the lines {[at + 1 for at in found]}; add context"
    at, first = found[0], next(n for n, line in enumerate(old) if line)
    there = lines[at + first]
    shift = there[: len(there) - len(old[first])]  # what `old` lacks of its indentation
    return lines[:at] + [line and shift + line for line in new] + lines[at + len(old) :]
