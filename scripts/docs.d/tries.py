"""Makes the changes that a text proposes, in a copy of the tree, and runs what follows them."""

import os
import pathlib

import commands
import compare


class Copy:
    """A copy of the tree below target/, with a target folder of its own. It is kept from one try
    to the next and only what differs is written, or cargo would build everything again."""

    def __init__(self, tree):
        self.tree = tree
        self.root = tree.root / "target" / "docs" / "try"
        self.target = self.root / "target"
        self.restore()

    def restore(self):
        """Undoes every change, and removes what the programs have made."""
        for folder, folders, files in os.walk(self.root):
            if folder == str(self.root) and "target" in folders:
                folders.remove("target")
            for file in (pathlib.Path(folder, file) for file in files):
                if str(file.relative_to(self.root)) not in self.tree.files:
                    file.unlink()
        for name in self.tree.files:
            self.restore_file(name)

    def restore_file(self, name):
        original, file = self.tree.root / name, self.root / name
        content = original.read_bytes()
        if not file.exists() or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Written, not copied with its time: cargo builds again what is newer than its build.
            file.write_bytes(content)
            file.chmod(original.stat().st_mode)

    def write(self, name, lines):
        (self.root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def lines(self, name):
        return (self.root / name).read_text(encoding="utf-8").removesuffix("\n").split("\n")


def patched(lines, diff):
    """The lines with the change made, or a sentence and details that say why it does not fit."""
    if odd := [line for line in diff if line and line[0] not in " -+"]:
        return None, f"a line of a diff begins with a space, - or +, not {odd[0]!r}", []
    # The marks and the lines; both sides lose the same indentation.
    signs = [line[:1] or " " for line in diff]
    bodies = compare.dedent([line[1:] for line in diff])
    old = [body for sign, body in zip(signs, bodies) if sign in " -"]
    new = [body for sign, body in zip(signs, bodies) if sign in " +"]
    if not "".join(old).strip() or old == new:
        return None, "a diff needs lines to find and lines to change", []
    found = compare.places(old, lines)
    if not found:
        return None, "- is in the text, + in the file", compare.difference(
            compare.dedent(old), compare.nearest(old, lines)
        )
    if len(found) > 1:
        numbers = ", ".join(str(at + 1) for at in found)
        return None, f"it fits more than once, at the lines {numbers}; add context", []
    at, size = found[0], len(old)
    shift = compare.indentation(lines[at : at + size]) - compare.indentation(old)
    moved = [(" " * shift + line if shift > 0 else line[-shift:]) if line else "" for line in new]
    return lines[:at] + moved + lines[at + size :], "", []


def check(text, tree, report, limits=commands.Limits):
    if not text.tries:
        return
    copy = Copy(tree)
    env = commands.environment(CARGO_TARGET_DIR=str(copy.target))
    unchanged = [block for blocks in text.tries for block in blocks]
    commands.build(unchanged, copy.root, env, limits.first_build)
    for blocks in text.tries:
        try:
            if change(text, blocks, copy, report):
                commands.build(blocks, copy.root, env, limits.build)
                ports = tree.default_ports()
                commands.Runner(text, copy.root, env, ports, report, limits).run(blocks)
        finally:
            copy.restore()


def change(text, blocks, copy, report):
    """Makes the change of a try; says whether that could be done and something shows it."""
    first = f"{text.name}:{blocks[0].line}"
    shown = any(block.output or "the server also prints" in block.marks for block in blocks)
    report.check(shown, first, "the try shows what happens", "it has no sh fence with a text fence after it")
    commands_began = False
    for block in blocks:
        commands_began |= block.language == "sh"
        name = block.marks.get("patch")
        if not name:
            continue
        where, sentence = f"{text.name}:{block.line}", f"the change of {name} fits"
        if commands_began or name not in copy.tree.files:
            problem = f"there is no file {name}"
            if commands_began:
                problem = "end the try before the next one begins: <!-- end of try -->"
            report.check(False, where, sentence, problem)
            return False
        lines, problem, details = patched(copy.lines(name), block.lines)
        report.check(lines is not None, where, sentence, problem, details)
        if lines is None:
            return False
        copy.write(name, lines)
    return shown
