"""Runs the commands of the texts in this tree, as a reader would, and makes the changes that they
propose in a copy of it."""

import pytest
from copy_of_tree import Copy
from programs import ROOT
from session import Session
from text import Block
from tree import Tree

# A command may have to wait for a build, a try for several.
pytestmark = pytest.mark.timeout(1800)


class Section:
    """What stands between two headings of a text, run in order and once. Whoever asks for one
    step alone gets those above it too."""

    def __init__(self, blocks):
        self.blocks = [*blocks, Block(0, "stop")]

    def run_to(self, at):
        while self.done <= at:
            self.done += 1
            self.session.step(self.blocks[self.done - 1])


def steps():
    for text in Tree.of_git(ROOT).texts:
        for section in map(Section, text.sections):
            serves = False
            for at, block in enumerate(section.blocks):
                serves |= "serve" in block.marks
                if block.is_run():
                    yield pytest.param(section, at, id=f"{text.name}:{block.line}")
                elif serves and block.word:
                    line = block.line or section.blocks[at - 1].line
                    yield pytest.param(section, at, id=f"{text.name}:{line} the servers end")


@pytest.fixture(scope="module")
def enter(ports):
    """Begins a section, and leaves nothing of the one before."""
    entered, built = [], set()

    def enter(section):
        if section not in entered:
            leave()
            section.session, section.done = Session(ROOT, ports, built=built), 0
            entered.append(section)

    def leave():
        for section in entered:
            section.session.end()
        entered.clear()

    yield enter
    leave()


@pytest.mark.parametrize("section, at", list(steps()))
def test_command(section, at, enter):
    enter(section)
    section.run_to(at)


@pytest.fixture(scope="module")
def copy():
    return Copy(Tree.of_git(ROOT), ROOT / "target/docs/try")


def tries():
    for text in Tree.of_git(ROOT).texts:
        for blocks in text.tries:
            yield pytest.param(blocks, id=f"{text.name}:{blocks[0].line}")


@pytest.mark.parametrize("blocks", list(tries()))
def test_try(blocks, copy, ports):
    copy.run(blocks, ports)
