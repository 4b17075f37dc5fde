"""Takes a Markdown text apart: headings, fences with the marks above them, code spans, links.

A mark is an HTML comment on lines of its own, so a reader does not see it. It says how the fence
below it is kept true:

    all of: FILE            the fence is the whole file
    part of: FILE           the fence is a run of lines of that file
    not a listing: REASON   the fence is no file of this tree
    run, status N           the commands end, the last one with status N; 0 without a mark
    serve                   the command goes on until a heading of level 2, a `stop`, or the next
                            one that needs its port; ready when it says `listening on`
    serve, port N           the same for a program that says nothing: ready when the port answers
    type: LINE              what the command reads
    not run: REASON         the commands cannot be run here
    the server also prints  what the last server prints later
    patch: FILE             a change to try; the commands below are run with it
    end of try, stop        stand alone, without a fence

A `text` fence below an `sh` fence is what its commands print: `…` stands for anything within a
line, and alone on a line for any number of lines.
"""

import dataclasses
import re

from markdown_it import MarkdownIt

MARK = re.compile(
    r"(?P<word>all of|part of|patch|not a listing|not run|type): *(?P<value>\S.*)"
    r"|(?P<status>run), status (?P<number>\d+)|(?P<server>serve), port (?P<port>\d+)"
    r"|(?P<alone>run|serve|the server also prints|stop|end of try)",
    re.DOTALL,
)
PARSER = MarkdownIt("commonmark").enable("table")
HTML_LINK = re.compile(r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)=\"([^\"]+)\"")


@dataclasses.dataclass(eq=False)
class Block:
    """A fence; or, with a `word`, what stands alone: a heading of level 1 or 2, a stop, an end of try."""

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
        """(line, command), with continued lines joined."""
        joined = ""
        for number, line in enumerate(self.lines, self.line + 1):
            joined += line.rstrip().removesuffix("\\")
            if not line.rstrip().endswith("\\"):
                if joined.strip() and not joined.strip().startswith("#"):
                    yield number, joined.strip()
                joined = ""


class Text:
    def __init__(self, name, markdown):
        self.name = name
        self.problems = []  # sentences
        self.blocks = []
        self.spans, self.links, self.rows = [], [], []  # (line, code), (line, target), (line, cells)
        self.anchors = set(re.findall(r"<[^>]*\b(?:id|name)=\"([^\"]+)\"", markdown))
        self._read(PARSER.parse(markdown), markdown.split("\n"))
        self.sections, self.tries = [[]], []
        self._part()

    def _problem(self, line, sentence):
        self.problems.append(f"{self.name}:{line}: {sentence}")

    def _read(self, tokens, source):
        line, marks, before = 1, {}, None  # `before`: the commands that an output may follow
        for at, token in enumerate(tokens):
            line = token.map[0] + 1 if token.map else line
            if token.type == "html_block":
                for comment in re.findall(r"<!--(.*?)-->", token.content, re.DOTALL):
                    marks |= self._mark(line, " ".join(comment.split()))
                self.links += [(line, link) for link in HTML_LINK.findall(token.content)]
                continue
            if token.type == "fence":
                if not source[token.map[1] - 1].strip().startswith(token.markup) or token.map[1] - 1 < line:
                    self._problem(line, "the fence is never closed")
                lines = token.content.removesuffix("\n").split("\n")
                fence = Block(line, "", token.info.strip(), lines, marks)
                if before and fence.language == "text" and not marks:
                    before.output, fence.explained = fence, True
                before = fence if fence.is_run() else None
                self.blocks.append(fence)
                marks = {}
            for word in marks:
                self._problem(line, f"the mark {word!r} above has no fence directly below it")
            marks = {}
            if token.type == "heading_open":
                before = None
                self._anchor(tokens[at + 1])
                if token.tag in ("h1", "h2"):
                    self.blocks.append(Block(line, "heading"))
            elif token.type == "inline":
                self._inline(line, token)
            elif token.type == "tr_open":
                self.rows.append((line, source[line - 1].strip().strip("|").split(" | ")))
        if marks:
            self._problem(len(source), "the last mark has no fence below it")

    def _mark(self, line, words):
        found = MARK.fullmatch(words)
        if not found:
            self._problem(line, f"<!-- {words} --> is no mark; text.py explains the marks")
        elif found["alone"] in ("stop", "end of try"):
            self.blocks.append(Block(line, found["alone"]))
        else:
            word = found["word"] or found["status"] or found["server"] or found["alone"]
            number = found["number"] or found["port"]
            return {word: int(number) if number else found["value"]}
        return {}

    def _inline(self, line, token):
        for child in token.children:
            if child.type == "code_inline":
                self.spans.append((line, child.content))
            elif child.type == "link_open":
                self.links.append((line, child.attrs["href"]))
            elif child.type == "image":
                self.links.append((line, child.attrs["src"]))
            elif child.type == "html_inline":
                self.links += [(line, link) for link in HTML_LINK.findall(child.content)]
            elif child.type == "text" and re.search(r"\[[^\[\]]+\]\[[^\[\]]+\]", child.content):
                self._problem(line, f"{child.content!r} is a link to nothing")
            line += child.type in ("softbreak", "hardbreak")

    def _anchor(self, heading):
        """The anchor that GitHub gives to a heading."""
        said = "".join(c.content for c in heading.children if c.type in ("text", "code_inline"))
        slug = re.sub(r"[^\w\- ]", "", said.strip().lower()).replace(" ", "-")
        anchor, again = slug, 0
        while anchor in self.anchors:
            again += 1
            anchor = f"{slug}-{again}"
        self.anchors.add(anchor)

    def _part(self):
        """Parts the blocks into sections, which end at headings of level 1 and 2, and tries."""
        current = None  # the try
        for block in [*self.blocks, Block(0, "heading")]:
            word = block.word
            if word == "heading":
                if current:
                    self._problem(current[0].line, "this try has no <!-- end of try -->")
                current = None
                self.sections.append([])
            elif word == "end of try":
                if not current:
                    self._problem(block.line, "no try begins above this end of try")
                current = None
            elif word or not current and "patch" not in block.marks:
                (self.sections[-1] if current is None else current).append(block)
            else:
                if current is None:
                    current = []
                    self.tries.append(current)
                current.append(block)
                block.explained |= block.language not in ("sh", "text", "diff")
