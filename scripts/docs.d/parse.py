"""Takes a Markdown text apart: headings, paragraphs, fences, and the marks above the fences.

A mark is an HTML comment on lines of its own, so a reader does not see it. It says how the fence
below it is kept true:

    all of: FILE            the fence is the whole file
    part of: FILE           the fence is a run of lines of that file
    not a listing: REASON   the fence is no file of this tree
    run, status N           the commands end, the last one with status N; `run` alone means 0
    serve                   the command goes on until a heading of level 2, a `stop`, or the next
                            one that needs its port; ready when it says `listening on`
    serve, port N           the same for a program that says nothing: ready when the port answers
    type: LINE              what the command reads
    not run: REASON         the commands cannot be run here
    the server also prints  what the last server prints later
    patch: FILE             a change to try; the commands below are run with it
    end of try, stop        stand alone, without a fence
"""

import dataclasses
import re

ALONE = {"stop", "end of try"}
MARKS = {
    "all of": "file", "part of": "file", "patch": "file", "not a listing": "reason",
    "not run": "reason", "type": "line", "run": None, "serve": None, "stop": None,
    "the server also prints": None, "end of try": None,
}
CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)  # a code span
LISTING = {"all of", "part of", "not a listing"}


@dataclasses.dataclass
class Block:
    """kind: heading, prose, fence or mark."""

    kind: str
    line: int
    lines: list
    level: int = 0  # of a heading
    language: str = ""  # of a fence
    marks: dict = dataclasses.field(default_factory=dict)  # of a fence, by their words
    output: "Block | None" = None  # the text fence that shows what these commands print

    def text(self):
        return "\n".join(self.lines)


class Text:
    """A text, and what is wrong with its marks."""

    def __init__(self, name, markdown):
        self.name = name
        self.problems = []  # (line, sentence)
        self.blocks = []
        self._read(markdown.split("\n"))
        self._find_outputs()
        self._find_tries()

    def fences(self):
        return [block for block in self.blocks if block.kind == "fence"]

    def _read(self, lines):
        pending, gap, at = {}, 0, 0
        while at < len(lines):
            line, number = lines[at], at + 1
            bare = line.strip()
            at += 1
            if fence := re.match(r"\s*(`{3,}|~{3,})\s*([^\s,`]*)[^`]*$", line):
                content, at, closed = take_fence(lines, at, fence[1])
                if not closed:
                    self.problems.append((number, "the fence is never closed"))
                block = Block("fence", number, content, language=fence[2], marks=pending)
                self.blocks.append(block)
                pending, gap = {}, 0
            elif bare.startswith("<!--"):
                while "-->" not in bare and at < len(lines):
                    bare += " " + lines[at].strip()
                    at += 1
                word, value = self._mark(number, bare)
                if word in ALONE:
                    self.blocks.append(Block("mark", number, [word]))
                elif word:
                    pending[word] = value
                    gap = 0
            elif not bare:
                gap += 1
            else:
                if heading := re.match(r"(#{1,6})\s+(.*?)\s*#*$", line):
                    self.blocks.append(Block("heading", number, [heading[2]], len(heading[1])))
                elif self.blocks and self.blocks[-1].kind == "prose" and gap == 0:
                    self.blocks[-1].lines.append(line)
                else:
                    self.blocks.append(Block("prose", number, [line]))
                gap = 0
                pending = self._nothing_pends(pending, number)
            if gap > 1:
                pending = self._nothing_pends(pending, number)
        self._nothing_pends(pending, len(lines))

    def _mark(self, line, comment):
        """The word and the value of a mark."""
        words = comment.removeprefix("<!--").rpartition("-->")[0].strip()
        word, colon, value = (part.strip() for part in words.partition(":"))
        if status := re.fullmatch(r"run, status (\d+)", words):
            return "run", int(status[1])
        if port := re.fullmatch(r"serve, port (\d+)", words):
            return "serve", int(port[1])
        if word not in MARKS or bool(value) != bool(MARKS[word]) or bool(colon) != bool(value):
            known = ", ".join(w + (f": {v.upper()}" if v else "") for w, v in MARKS.items())
            self.problems.append((line, f"<!-- {words} --> is no mark; the marks are: {known}"))
            return None, None
        return word, value

    def _nothing_pends(self, pending, line):
        for word in pending:
            self.problems.append((line, f"the mark {word!r} above has no fence directly below it"))
        return {}

    def _find_outputs(self):
        before = None  # the sh fence that this text fence may follow
        for block in self.blocks:
            if block.kind == "heading":
                before = None
            elif block.kind == "fence":
                if block.language == "text" and before and not block.marks:
                    before.output = block
                    block.marks["output"] = before
                is_command = block.language == "sh" and not LISTING & block.marks.keys()
                before = block if is_command else None

    def _find_tries(self):
        """Sets `commands`, the blocks outside of tries, and `tries`, one list of blocks each."""
        self.commands, self.tries = [], []
        current = None
        for block in self.blocks:
            if current and block.kind == "heading" and block.level <= 2:
                self.problems.append((current[0].line, "this try has no <!-- end of try -->"))
                current = None
            if not current and "patch" in block.marks:
                current = []
                self.tries.append(current)
            if block.kind == "mark" and block.lines == ["end of try"]:
                if current is None:
                    self.problems.append((block.line, "no try begins above this end of try"))
                current = None
            elif current is None:
                self.commands.append(block)
            else:
                current.append(block)
        if current:
            self.problems.append((current[0].line, "this try has no <!-- end of try -->"))


def take_fence(lines, at, opening):
    """The lines of a fence without its indentation, the line after it, and whether it is closed."""
    indent = len(lines[at - 1]) - len(lines[at - 1].lstrip())
    content = []
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.strip().startswith(opening) and not line.strip().strip(opening[0]):
            return content, at, True
        content.append(line[min(indent, len(line) - len(line.lstrip())) :])
    return content, at, False


def spans(block):
    """The code spans of a paragraph or a heading: (line, code)."""
    text = block.text()
    for span in CODE.finditer(text):
        yield block.line + text[: span.start()].count("\n"), " ".join(span[2].split())


def without_code(block):
    """The text of a block, with an x for each character of its code spans."""
    return CODE.sub(lambda span: re.sub(r"[^\n]", "x", span[0]), block.text())


def command_lines(fence):
    """The commands of an sh fence: (line, command)."""
    joined = ""
    for number, line in enumerate(fence.lines, fence.line + 1):
        if line.rstrip().endswith("\\"):
            joined += line.rstrip()[:-1]
            continue
        command = (joined + line).strip()
        joined = ""
        if command and not command.startswith("#"):
            yield number, command
