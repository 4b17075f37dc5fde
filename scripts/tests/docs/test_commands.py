"""Runs the commands of the texts in this tree, as a reader would, and makes the changes that they
propose in a copy of it. Those of a translation are the same, which test_texts.py checks."""

import pytest
from copy_of_tree import Copy
from programs import ROOT
from session import Session
from tree import Tree

# A command may have to wait for a build, a try for several.
pytestmark = pytest.mark.timeout(1800)


def steps():
    """Each command with what stands above it in its section, and the end of each section with servers."""
    for text in Tree.of_git(ROOT).originals:
        for section in text.sections:
            runs = [at for at, block in enumerate(section) if block.is_run()]
            for at in runs:
                yield pytest.param(section, at, id=f"{text.name}:{section[at].line}")
            if any("serve" in section[at].marks for at in runs):
                yield pytest.param(section, len(section), id=f"{text.name}:{section[-1].line} the servers end")


@pytest.fixture(scope="module")
def run_to(ports):
    """Runs a section up to a place, once: whoever asks for one step alone gets those above it too."""
    session, entered, done, built = None, None, 0, set()

    def run_to(section, at):
        nonlocal session, entered, done
        if section is not entered:
            leave()
            session, entered, done = Session(ROOT, ports, built=built), section, 0
        for block in section[done : at + 1]:
            done += 1
            session.step(block)
        if at == len(section):
            session.stop(session.servers)

    def leave():
        if session:
            session.end()

    yield run_to
    leave()


@pytest.mark.parametrize("section, at", list(steps()))
def test_command(section, at, run_to):
    run_to(section, at)


@pytest.fixture(scope="module")
def copy():
    return Copy(Tree.of_git(ROOT), ROOT / "target/docs/try")


def tries():
    for text in Tree.of_git(ROOT).originals:
        for blocks in text.tries:
            yield pytest.param(blocks, id=f"{text.name}:{blocks[0].line}")


@pytest.mark.parametrize("blocks", list(tries()))
def test_try(blocks, copy, ports):
    copy.run(blocks, ports)
