"""What a text names must exist: the places that its links lead to, tests, paths, and the flags in
the table of flags. (Other flags and packages are checked where the commands that have them are run.)"""

import posixpath
import re
import urllib.parse

PATH = re.compile(r"(?<![\w./-])(?:\.\./)*((?:crates|scripts|web)/[\w./-]*\w)(?!/?[*…{<]|-?[*…{<])")
TEST = re.compile(r"(?:\w+::)*([a-z0-9]+(?:_[a-z0-9]+){3,})(?:\(\))?")
FLAG = re.compile(r"^ {2,6}(?:-\w, )?(--[\w-]+)", re.MULTILINE)  # in a help


def is_named(code):
    return bool(TEST.fullmatch(code) or PATH.search(code))


def check_name(code, tree):
    """A code span or a command: the test that it is, and the paths in it."""
    if test := TEST.fullmatch(code):
        assert test[1] in tree.tests, "a test has this name"
    for path in PATH.findall(code):
        assert path in tree.paths, f"there is {path}"


def is_in_tree(link):
    return not re.match(r"[a-z][a-z0-9+.-]*:", link)  # other hosts are not asked


def check_link(link, text, tree):
    path, _, anchor = map(urllib.parse.unquote, link.partition("#"))
    target = posixpath.normpath(posixpath.join(posixpath.dirname(text.name), path)) if path else text.name
    assert target in tree.paths, f"there is no file {target}"
    anchors = [other.anchors for other in tree.texts if other.name == target]
    assert not anchor or anchor in anchors[0], f"{target} has no #{anchor}"


def check_translated_link(link, text, tree):
    """A translation links to the translation of a page, if there is one, but to its own original."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(text.name), link.partition("#")[0]))
    translated = path.removesuffix(".md") + text.name[text.name.index(".zh-") :]
    assert translated == text.name or translated not in tree.paths, f"there is {translated}"


def check_flags(text, helps):
    """The table `| flag | meaning | default |` has every flag, and says what the servers' help says."""
    lines = [row for _, row in text.rows]
    rows = {}
    for cells in lines[[[cell.strip() for cell in row] for row in lines].index(["flag", "meaning", "default"]) + 1 :]:
        flag, meaning, default = map(str.strip, cells[:3]) if len(cells) == 3 else ("", "", "")
        if not flag.startswith("`"):
            break
        rows[flag.strip("`").split()[0]] = flag.strip("`"), meaning, default.replace("`", "")
    having = {name: {server for server in helps if name in [*FLAG.findall(helps[server]), "ADDRESS"]} for name in rows}
    for server, said in helps.items():
        for name in {"ADDRESS", *FLAG.findall(said)} - {"--help"}:
            assert name in rows, f"the table has every flag of {server}, also {name}"
            flag, meaning, default = rows[name]
            if having[name] != helps.keys():
                only, _, meaning = meaning.partition(" only: ")
                assert set(only.split(", ")) == having[name], f"{name} is a flag of {having[name]}"
            wanted = re.sub(r" (\w+)$", r" <\1>", flag) if name.startswith("-") else f"[{name}]"
            wanted += f" {meaning[:1].upper()}{meaning[1:]}"
            if name != "ADDRESS" and default != "none":
                wanted += f" [default: {default}]"
            assert wanted in " ".join(said.split()), f"{server} --help says of {name} what the table says"
    assert all(having.values()), f"each flag of the table is one of a server: {having}"
