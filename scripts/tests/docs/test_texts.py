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


TRANSLATIONS = [text for text in TREE.texts if text not in TREE.originals]


@pytest.mark.parametrize("translation", TRANSLATIONS, ids=lambda text: text.name)
def test_translated_text(translation):
    original = re.sub(r"\.zh-\w+", "", translation.name)
    check_translation(translation, next(text for text in TREE.originals if text.name == original))


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
