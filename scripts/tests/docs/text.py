"""Takes a Markdown text apart: headings, fences with the marks above them, code spans, links.

A mark is an HTML comment on lines of its own, so a reader does not see it. It says how the fence
below it is kept true:

    all of: FILE            the fence is the whole file
    part of: FILE           the fence is a run of lines of that file
    not a listing: REASON   the fence is no file of this tree
    run, status N           the commands end, the last one with status N; 0 without a mark
    serve                   the command goes on until a heading of level 2, or the next one that
                            needs its port; ready when it says `listening on`
    serve, port N           the same for a program that says nothing: ready when the port answers
    type: LINE              what the command reads
    not run: REASON         the commands cannot be run here
    the server also prints  what the last server prints later
    patch: FILE             a change to try; the commands below are run with it
    end of try              stands alone, without a fence

A `text` fence below an `sh` fence is what its commands print: `…` stands for anything within a
line, and alone on a line for any number of lines.
"""

import dataclasses
import re

from markdown_it import MarkdownIt
from mdit_py_plugins.anchors import anchors_plugin

MARK = re.compile(
    r"(?P<word>all of|part of|patch|not a listing|not run|type): *(?P<value>\S.*)"
    r"|(?P<status>run), status (?P<number>\d+)|(?P<server>serve), port (?P<port>\d+)"
    r"|(?P<alone>run|serve|the server also prints|end of try)",
    re.DOTALL,
)
PARSER = MarkdownIt("commonmark").enable("table").use(anchors_plugin, max_level=6)
HTML_LINK = re.compile(r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)=\"([^\"]+)\"")


@dataclasses.dataclass(eq=False)
class Block:
    """A fence; or, with a `word`, what stands alone: a heading of level 1 or 2, an end of try."""

    line: int
    word: str = ""
    language: str = ""
    lines: list = dataclasses.field(default_factory=list)
    marks: dict = dataclasses.field(default_factory=dict)
    output: "Block | None" = None  # what these commands print
    explained: bool = False  # it is such an output, or part of a try

    def is_run(self):
        return self.language == "sh" and not self.marks.keys() & {"not run", "all of", "part of", "not a listing"}

    def commands(self):
        """The commands, with continued lines joined."""
        lines = re.sub(r"\\\n", "", "\n".join(self.lines)).split("\n")
        return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


class Text:
    def __init__(self, name, markdown):
        self.name, self.problems = name, []  # sentences
        self.blocks, self.spans, self.links, self.rows = [], [], [], []  # (line, code), (line, target), (line, cells)
        self.sections, self.tries = [[]], []
        tokens = PARSER.parse(markdown)
        self.anchors = {token.attrs["id"] for token in tokens if token.type == "heading_open"}
        self.anchors |= set(re.findall(r"<[^>]*\b(?:id|name)=\"([^\"]+)\"", markdown))
        self._read(tokens, markdown.split("\n"))
        self._part()

    def _read(self, tokens, source):
        line, marks, before = 1, {}, None  # `before`: the commands that an output may follow
        for token in tokens:
            line = token.map[0] + 1 if token.map else line
            if token.type == "html_block":
                for comment in re.findall(r"<!--(.*?)-->", token.content, re.DOTALL):
                    marks |= self._mark(line, " ".join(comment.split()))
                self.links += [(line, link) for link in HTML_LINK.findall(token.content)]
                continue
            if token.type == "fence":
                fence = Block(line, "", token.info.strip(), token.content.removesuffix("\n").split("\n"), marks)
                if before and fence.language == "text" and not marks:
                    before.output, fence.explained = fence, True
                before, marks = fence if fence.is_run() else None, {}
                self.blocks.append(fence)
            self.problems += [f"{self.name}:{line}: the mark {word!r} above has no fence directly below it" for word in marks]
            marks = {}
            if token.type == "heading_open":
                before = None
                if token.tag in ("h1", "h2"):
                    self.blocks.append(Block(line, "heading"))
            elif token.type == "inline":
                self._inline(line, token)
            elif token.type == "tr_open":
                self.rows.append((line, source[line - 1].strip().strip("|").split(" | ")))

    def _mark(self, line, words):
        found = MARK.fullmatch(words)
        if not found:
            self.problems.append(f"{self.name}:{line}: <!-- {words} --> is no mark; text.py explains the marks")
            return {}
        if found["alone"] == "end of try":
            self.blocks.append(Block(line, "end of try"))
            return {}
        number = found["number"] or found["port"]
        word = found["word"] or found["status"] or found["server"] or found["alone"]
        return {word: int(number) if number else found["value"]}

    def _inline(self, line, token):
        for child in token.children:
            if child.type == "code_inline":
                self.spans.append((line, child.content))
            elif child.type in ("link_open", "image"):
                self.links.append((line, child.attrs.get("href") or child.attrs["src"]))
            elif child.type == "html_inline":
                self.links += [(line, link) for link in HTML_LINK.findall(child.content)]
            line += child.type in ("softbreak", "hardbreak")

    def _part(self):
        """Parts the blocks into sections, which end at headings of level 1 and 2, and tries."""
        current = None  # the try
        for block in [*self.blocks, Block(0, "heading")]:
            if current is None and "patch" in block.marks:
                current = []
                self.tries.append(current)
            ran = current and any(other.is_run() for other in current)
            if current and block.word == "heading" or ran and "patch" in block.marks:
                self.problems.append(f"{self.name}:{current[0].line}: this try has no <!-- end of try -->")
            if block.word == "heading":
                self.sections.append([])
            if block.word:
                current = None
            elif current is None:
                self.sections[-1].append(block)
            else:
                current.append(block)
                block.explained |= block.language not in ("sh", "text", "diff")
