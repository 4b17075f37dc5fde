"""What a text names must exist: the places that its links lead to, tests, paths, packages, and the
flags in the table of flags. (Other flags are checked where the commands that have them are run.)"""

import posixpath
import re
import urllib.parse

PATH = re.compile(r"(?<![\w./-])(?:\.\./)*((?:crates|scripts|web)/[\w./-]*\w)(?!/?[*…{<]|-?[*…{<])")
TEST = re.compile(r"(?:\w+::)*([a-z0-9]+(?:_[a-z0-9]+){3,})(?:\(\))?")
PACKAGE = re.compile(r"\bcargo (?:run|test|build)\b.*? -p ([\w-]+)")
FLAG = re.compile(r"^ {2,6}(?:-\w, )?(--[\w-]+)", re.MULTILINE)  # in a help


def is_named(code):
    return bool(TEST.fullmatch(code) or PATH.search(code) or PACKAGE.search(code))


def check_name(code, tree):
    """A code span or a command: the test that it is, and the paths and the package in it."""
    if test := TEST.fullmatch(code):
        assert test[1] in tree.tests, "a test has this name"
    for path in [*PATH.findall(code), *(f"crates/{package}" for package in PACKAGE.findall(code))]:
        assert path in tree.paths, f"there is {path}"


def is_in_tree(link):
    return not re.match(r"[a-z][a-z0-9+.-]*:", link)  # other hosts are not asked


def check_link(link, text, tree):
    path, _, anchor = map(urllib.parse.unquote, link.partition("#"))
    target = posixpath.normpath(posixpath.join(posixpath.dirname(text.name), path)) if path else text.name
    assert target in tree.paths, f"there is no file {target}"
    if line := re.fullmatch(r"L(\d+)(?:-L(\d+))?", anchor):
        assert int(line[2] or line[1]) <= len(tree.lines(target)), f"{target} has as many lines"
    elif anchor:
        anchors = next((other.anchors for other in tree.texts if other.name == target), ())
        assert anchor in anchors, f"{target} has no #{anchor}"


def table(text):
    """The rows of the table `| flag | meaning | default |`: (line, cells)."""
    cells = {line: [cell.strip() for cell in row] for line, row in text.rows}
    line = next((line for line, row in cells.items() if row == ["flag", "meaning", "default"]), 0) + 2
    while line in cells:
        yield line, cells[line]
        line += 1


def check_flag(row, helps):
    """The row says what the help of every server says that has the flag."""
    name, meaning, default = row
    name, *value = name.strip("`").split()
    having = {server for server, said in helps.items() if name in [*FLAG.findall(said), "ADDRESS"]}
    if having != helps.keys():
        only, _, meaning = meaning.partition(" only: ")
        assert set(only.split(", ")) == having, f"{name} is a flag of {having}"
    shown = " ".join([name, *(f"<{v}>" for v in value)]) if name.startswith("-") else f"[{name}]"
    wanted = f"{shown} {meaning[:1].upper()}{meaning[1:]}"
    if name != "ADDRESS" and default != "none":
        wanted += f" [default: {default.replace('`', '')}]"
    for server in having:
        assert wanted in " ".join(helps[server].split()), f"{server} --help says of {name} what the table says"


def check_table(text, helps):
    """The table has every flag of the servers."""
    named = {row[0].strip("`").split()[0] for _, row in table(text)}
    for server, said in helps.items():
        assert set(FLAG.findall(said)) <= named | {"--help"}, f"the table has every flag of {server}"
