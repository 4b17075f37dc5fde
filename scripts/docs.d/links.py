"""Checks that links lead to files of this tree and anchors to headings. Other hosts are not asked."""

import posixpath
import re
import urllib.parse

import parse

LINKS = [
    re.compile(r"!?\[[^\[\]]*(?:\[[^\]]*\][^\[\]]*)?\]\(\s*<?([^)\s>]+)>?[^)]*\)"),  # [text](link)
    re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)", re.MULTILINE),  # [name]: link
    re.compile(r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)=\"([^\"]+)\""),
]
REFERENCE = re.compile(r"\[[^\[\]]+\]\[([^\[\]]+)\]")


def check(text, tree, report):
    for line, link in links(text):
        problem = problem_of(link, text, tree)
        report.check(not problem, f"{text.name}:{line}", f"{link} leads somewhere", problem)
    prose = "\n".join(parse.without_code(b) for b in text.blocks if b.kind == "prose")
    defined = {name.lower() for name in re.findall(r"^ {0,3}\[([^\]]+)\]:", prose, re.MULTILINE)}
    for block in text.blocks:
        if block.kind == "prose":
            for match in REFERENCE.finditer(parse.without_code(block)):
                line = block.line + block.text()[: match.start()].count("\n")
                ok = match[1].lower() in defined
                report.check(ok, f"{text.name}:{line}", f"[{match[1]}] is defined")


def links(text):
    for block in text.blocks:
        if block.kind not in ("prose", "heading"):
            continue
        content = parse.without_code(block)
        for expression in LINKS:
            for match in expression.finditer(content):
                yield block.line + content[: match.start()].count("\n"), match[1]


def problem_of(link, text, tree):
    if re.match(r"[a-z][a-z0-9+.-]*:", link):
        return ""
    path, _, anchor = link.partition("#")
    path, anchor = urllib.parse.unquote(path), urllib.parse.unquote(anchor)
    if path.startswith("/"):
        return "it leads out of the tree; make it relative"
    folder = posixpath.dirname(text.name)
    target = posixpath.normpath(posixpath.join(folder, path)) if path else text.name
    if target not in tree.paths and target != text.name:
        return f"there is no file {target}"
    if not anchor:
        return ""
    if line := re.fullmatch(r"L(\d+)(?:-L(\d+))?", anchor):
        last = len(tree.lines(target) or [])
        return "" if int(line[2] or line[1]) <= last else f"{target} has {last} lines"
    if not target.endswith(".md"):
        return f"{target} has no anchors"
    other = text if target == text.name else parse.Text(target, tree.read(target))
    near = ", ".join(sorted(anchors(other)))
    return "" if anchor in anchors(other) else f"{target} has no #{anchor}; it has {near}"


def anchors(text):
    """The anchors that GitHub gives to headings, and those that the text sets itself."""
    found, seen = set(), {}
    for block in text.blocks:
        if block.kind == "heading":
            slug = slug_of(block.text())
            again = seen.get(slug, 0)
            seen[slug] = again + 1
            found.add(f"{slug}-{again}" if again else slug)
        elif block.kind == "prose":
            found.update(re.findall(r"<[^>]*\b(?:id|name)=\"([^\"]+)\"", block.text()))
    return found


def slug_of(heading):
    heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)  # a link's text
    heading = re.sub(r"<[^>]+>|[*`]", "", heading)
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
