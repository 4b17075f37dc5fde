"""Compares lines: exactly, at another indentation, or with `…` for what varies."""

import difflib
import re

ANY = "…"
SHOWN = 24  # lines of a difference


def pattern(lines):
    """`…` stands for anything within a line; alone on a line, for any number of lines."""
    parts = []
    for line in map(str.rstrip, lines):
        if line.strip() == ANY:
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(r"[^\n]*".join(map(re.escape, line.split(ANY))) + r"\n")
    return re.compile("".join(parts))


def joined(lines):
    return "".join(line.rstrip() + "\n" for line in lines)


def equals(expected, actual):
    return pattern(expected).fullmatch(joined(actual)) is not None


def begins(expected, actual):
    return pattern(expected).match(joined(actual)) is not None


def difference(expected, actual):
    """What is expected (-) and what is there (+), without the lines that match."""
    patterns = [(line, pattern([line])) for line in expected if line.strip() != ANY]

    def shown(line):
        matching = (e for e, p in patterns if p.fullmatch(joined([line])))
        return next(matching, line.rstrip())

    before, after = [line.rstrip() for line in expected], list(map(shown, actual))
    lines = list(difflib.unified_diff(before, after, n=1, lineterm=""))[3:]
    if not lines:
        lines = ["- " + line for line in expected] + ["+ " + line for line in actual]
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"({len(lines) - SHOWN} more lines)"]
    return lines


def indentation(lines):
    """The common indentation."""
    return min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)


def dedent(lines):
    indent = indentation(lines)
    return [line[indent:].rstrip() for line in lines]


def places(wanted, lines):
    """Where `wanted` stands in `lines`, at whatever indentation."""
    wanted, size = dedent(wanted), len(wanted)
    starts = range(len(lines) - size + 1)
    return [at for at in starts if dedent(lines[at : at + size]) == wanted]


def nearest(wanted, lines):
    """The lines that resemble `wanted` most, to show how they differ."""
    wanted, size = dedent(wanted), len(wanted)

    def alike(at):
        window = dedent(lines[at : at + size])
        return sum(a == b and a != "" for a, b in zip(window, wanted)) + difflib.SequenceMatcher(
            None, window[0] if window else "", wanted[0]
        ).quick_ratio()

    at = max(range(max(1, len(lines) - size + 1)), key=alike)
    return dedent(lines[at : at + size])
