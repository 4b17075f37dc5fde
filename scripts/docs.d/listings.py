"""Checks that every fence is what it says: a file, a part of one, or an output."""

import compare
import parse

FREE = {"mermaid"}


def check(text, tree, report):
    for line, problem in text.problems:
        report.check(False, f"{text.name}:{line}", "the marks make sense", problem)
    in_try = {id(block) for blocks in text.tries for block in blocks}
    for fence in text.fences():
        where = f"{text.name}:{fence.line}"
        if file := fence.marks.get("all of"):
            whole(fence, file, where, tree, report)
        elif file := fence.marks.get("part of"):
            part(fence, file, where, tree, report)
        elif not is_explained(fence, id(fence) in in_try):
            listing = "<!-- all of: FILE -->, <!-- part of: FILE --> or <!-- not a listing: REASON -->"
            problem = f"a fence of {fence.language or 'no language'} needs a mark: {listing}"
            report.check(False, where, "the fence is kept true", problem)


def is_explained(fence, in_try):
    if fence.language in FREE or "not a listing" in fence.marks:
        return True
    match fence.language:
        case "sh":
            return True
        case "text":
            return "output" in fence.marks or "the server also prints" in fence.marks
        case "diff":
            return "patch" in fence.marks
    return in_try


def whole(fence, file, where, tree, report):
    lines = tree.lines(file)
    if lines is None:
        report.check(False, where, f"the listing equals {file}", "there is no such file")
        return
    different = [] if fence.lines == lines else compare.difference(fence.lines, lines)
    problem = "- is in the text, + in the file"
    report.check(fence.lines == lines, where, f"the listing equals {file}", problem, different)


def part(fence, file, where, tree, report):
    lines = tree.lines(file)
    sentence = f"the listing is a part of {file}"
    if lines is None or not fence.text().strip():
        problem = "there is no such file" if lines is None else "the listing is empty"
        report.check(False, where, sentence, problem)
        return
    ok = bool(compare.places(fence.lines, lines))
    details = [] if ok else compare.difference(
        compare.dedent(fence.lines), compare.nearest(fence.lines, lines)
    )
    report.check(ok, where, sentence, "- is in the text, + in the file", details)


def sh_fences(blocks):
    """The fences of commands that are run."""
    for block in blocks:
        is_sh = block.kind == "fence" and block.language == "sh"
        if is_sh and "not run" not in block.marks and not parse.LISTING & block.marks.keys():
            yield block
