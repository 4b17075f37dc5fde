"""What the texts show and name is there: listings, links, tests, paths, packages, the table of flags."""

import re

import names
import pytest
from programs import ROOT
from tree import Tree, check_listing, check_translation

TREE = Tree.of_git(ROOT)


def each(found, wanted=lambda what: True):
    """A parameter for each (text, line, what), but what stands twice in a line."""
    places = {f"{text.name}:{line} {what}": (text, what) for text, line, what in found if wanted(what)}
    return [pytest.param(*place, id=name) for name, place in places.items()]


@pytest.mark.parametrize("text", TREE.texts, ids=lambda text: text.name)
def test_marks(text):
    assert not text.problems


FENCES = [(text, block) for text in TREE.texts for block in text.blocks if not block.word]


@pytest.mark.parametrize("fence", [pytest.param(b, id=f"{t.name}:{b.line}") for t, b in FENCES])
def test_listing(fence):
    check_listing(fence, TREE)


def is_tried(block):
    return not block.word and (block.is_run() or "patch" in block.marks)


def run_as(block):
    """What running the block does, and what it must print."""
    return block.lines, block.marks, block.output and block.output.lines


RUN = [run_as(block) for text in TREE.originals for block in text.blocks if is_tried(block)]
TRANSLATED = [(t, b) for t in TREE.texts if t not in TREE.originals for b in t.blocks if is_tried(b)]


@pytest.mark.parametrize("block", [pytest.param(b, id=f"{t.name}:{b.line}") for t, b in TRANSLATED])
def test_translated_command(block):
    assert run_as(block) in RUN, "a translation has the commands, the changes and the outputs of an original text"


CHAPTERS = [text for text in TREE.texts if text.name.startswith("crates/") and text not in TREE.originals]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda text: text.name)
def test_translated_chapter(chapter):
    original = re.sub(r"\.zh-\w+", "", chapter.name)
    check_translation(chapter, next(text for text in TREE.originals if text.name == original))


@pytest.mark.parametrize(
    "text, link", each(((t, *link) for t in TREE.texts for link in t.links), names.is_in_tree)
)
def test_link(text, link):
    names.check_link(link, text, TREE)


TRANSLATED_LINKS = [(t, *link) for t in TREE.texts if t not in TREE.originals for link in t.links]


@pytest.mark.parametrize("text, link", each(TRANSLATED_LINKS, names.is_in_tree))
def test_translated_link(text, link):
    names.check_translated_link(link, text, TREE)


SPANS = [(text, *span) for text in TREE.texts for span in text.spans]
COMMANDS = [(text, block.line, line) for text, block in FENCES if block.language == "sh" for line in block.commands()]


@pytest.mark.parametrize("text, code", each([*SPANS, *COMMANDS], names.is_named))
def test_name(text, code):
    names.check_name(code, TREE)


def test_names_of_tests_are_short():
    """A longer name does not fit into a line of output, or has more than one idea."""
    assert not [name for name in TREE.tests if len(name) > 60]


def test_the_table_of_flags(helps):
    names.check_flags(
        next(text for text in TREE.texts if text.name == "crates/websockets/reference/flags.md"),
        {name: said for name, said in helps.items() if "[ADDRESS]" in said},
    )


def test_the_translated_front_page():
    """It has the headings and fences of the original in the same order; the digest of chapter 7 has more."""
    ours, theirs = (
        [(block.word, block.lines, block.marks) for text in TREE.texts if text.name == name for block in text.blocks]
        for name in ("README.zh-Hant.md", "README.md")
    )
    rest = iter(ours)  # `in` takes from it what comes before the block that it finds
    missing = [block for block in theirs if block not in rest]
    assert not missing, "the translation has these blocks, in this order"
