"""Checks that what a text names exists: tests, flags, packages, scripts, paths; and that the
table of flags in README.md says what --help says."""

import functools
import re
import shlex

import parse
from listings import sh_fences

TEST = re.compile(r"(?:\w+::)*([a-z0-9]+(?:_[a-z0-9]+){3,})(?:\(\))?")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
PATH = re.compile(r"(?<![\w./-])(?:\.\./)*((?:crates|scripts|web)/[\w./-]*\w)")
PACKAGE = re.compile(r"\bcargo (?:run|test|build)\b([^|;&\n`]*?\s(?:-p|--package)[ =]([\w-]+)[^|;&\n`]*)")
ENTRY = re.compile(
    r" {2,6}(?:-\w, )?(--[\w-]+|\[[A-Z_]+\]|<[A-Z_]+>)"  # the flag or the argument
    r"(?:[ =](<\S+>))?(?: {2,}(\S.*))?$"  # its value, and what it means
)
ASSIGNMENT = re.compile(r"\w+=\S*")


def check(text, tree, report):
    report_of = functools.partial(say, text, report)
    run = [command for fence in sh_fences(text.blocks) for _, command in parse.command_lines(fence)]
    for block in text.blocks:
        if block.kind in ("prose", "heading"):
            for line, span in parse.spans(block):
                test(span, line, tree, report_of)
                flags_of_span(span, line, [block.text(), *run], tree, report_of)
            flags_of_table(block, tree, report_of)
            places(block.text(), block.line, tree, report_of)
        elif block.kind == "fence" and block.language == "sh":
            for line, command in parse.command_lines(block):
                flags_of_command(command, line, tree, report_of)
                places(command, line, tree, report_of)
    if text.name == "README.md":
        table(text, tree, report_of)


def say(text, report, line, ok, sentence, problem="", details=()):
    report.check(ok, f"{text.name}:{line}", sentence, problem, details)


def test(span, line, tree, report):
    if match := TEST.fullmatch(span):
        name = match[1]
        report(line, name in tests(tree), f"{name} is a test", "no function of this name is a test")


@functools.cache
def tests(tree):
    """The names of all tests: in Rust, what stands below an attribute; elsewhere, any function."""
    found = set()
    for file in tree.files:
        if file.startswith("crates/") and file.endswith(".rs"):
            below = r"#\[(?:tokio::)?test\b.*?\]\s*(?:(?:#\[[^\]]*\]|//[^\n]*)\s*)*(?:async )?fn (\w+)"
            found.update(re.findall(below, tree.read(file), re.DOTALL))
        elif file.startswith("scripts/") and re.search(r"/[\w-]+$|\.(?:py|mjs|cjs|js)$", file):
            found.update(re.findall(r"\b(?:def|function) (\w+)", tree.read(file)))
    return found


def words_of(command):
    """The words of a command, without variables in front."""
    try:
        words = shlex.split(command)
    except ValueError:  # an apostrophe in what is no command
        words = command.split()
    while words and ASSIGNMENT.fullmatch(words[0]):
        words.pop(0)
    return words


def flags_of_span(span, line, near, tree, report):
    if not span.startswith("--"):
        return flags_of_command(span, line, tree, report)
    for flag in FLAG.findall(span):
        flag_of_any(flag, line, near, tree, report)


def flags_of_table(block, tree, report):
    for number, row in enumerate(block.lines, block.line):
        if row.lstrip().startswith("|"):
            for flag in FLAG.findall(re.sub(r"`[^`]*`", "", row)):
                flag_of_any(flag, number, [block.text()], tree, report)


def flag_of_any(flag, line, near, tree, report):
    """A flag without its program: of one of ours, of a script that the paragraph names, or of
    another program that the text runs with it, whose status tells whether it knows the flag."""
    paragraph, *run = near
    named = [path for path in PATH.findall(paragraph) if path in tree.files and path.startswith("scripts/")]
    ok = any(has(said, flag) for said in [*tree.helps.values(), *map(tree.read, named), *run])
    report(line, ok, f"{flag} is a flag", "no program says so at --help, nor a script that is named here")


def has(text, flag):
    return re.search(rf"(?<![\w-]){flag}(?![\w-])", text) is not None


def flags_of_command(command, line, tree, report):
    """The flags of our programs, of our scripts and of cargo; of others, nothing is known here."""
    words = words_of(command)
    if not words:
        return
    at = words.index("--") if "--" in words else len(words)
    program, arguments = words[0].split("/")[-1], words[1:]
    if words[0] == "cargo" and len(words) > 1:
        for flag in FLAG.findall(" ".join(words[2:at])):
            sentence = f"{flag} is a flag of cargo {words[1]}"
            report(line, has(tree.cargo_help(words[1]), flag), sentence, "its help does not say so")
        named = PACKAGE.search(command)
        program, arguments = named[2] if named and words[1] == "run" else None, words[at + 1 :]
        if "--example" in words:
            program = None
    if words[0] in tree.files:
        program, text = words[0], tree.read(words[0])
    else:
        text = tree.helps.get(program)
    if text is not None:
        for flag in FLAG.findall(" ".join(arguments)):
            ok = has(text, flag)
            report(line, ok, f"{flag} is a flag of {program}", "its help does not say so")


def places(content, line, tree, report):
    """Packages and paths."""
    for match in PACKAGE.finditer(content):
        number, package = line + content[: match.start()].count("\n"), match[2]
        targets = tree.targets(package, "bin")
        if example := re.search(r"--example[ =]([\w-]+)", match[1]):
            ok = example[1] in (tree.targets(package, "example") or [])
            report(number, ok, f"{package} has the example {example[1]}", "there is no such example")
        elif match[0].startswith("cargo run"):
            report(number, bool(targets), f"{package} is a program", "no package of this name has a binary")
        else:
            report(number, targets is not None, f"{package} is a package", "there is none of this name")
    for match in PATH.finditer(content):
        number, path = line + content[: match.start()].count("\n"), match[1]
        rest = content[match.end() : match.end() + 2]
        if not re.match(r"/?[*…{<]|-?[*…{<]", rest):
            report(number, path in tree.paths, f"{path} exists", "there is no such file or folder")


def entries(help_text):
    """The arguments and flags of a help: {name: (meaning, default)}."""
    found, name = {}, None
    for line in help_text.splitlines():
        if match := ENTRY.match(line):
            name = " ".join(filter(None, (match[1].strip("[]<>"), (match[2] or "").strip("<>"))))
            found[name] = match[3] or ""
        elif name and re.match(r" {8,}\S", line):
            found[name] += " " + line.strip()
        elif line.strip():
            name = None
    parted = {}
    for name, said in found.items():
        match = re.fullmatch(r"(.*?)(?: *\[default: (.*)\])?", said.strip(), re.DOTALL)
        parted[name] = (match[1], match[2] or "none")
    return parted


def table(text, tree, report):
    """The table under `| flag | meaning | default |` equals the help of the servers."""
    blocks = [b for b in text.blocks if b.kind == "prose" and re.match(r"\|\s*flag\s*\|", b.lines[0])]
    if len(blocks) != 1:
        where = blocks[1].line if blocks else 1
        report(where, False, "there is one table of the servers' flags", f"there are {len(blocks)}")
        return
    block, said = blocks[0], {}
    for number, row in enumerate(block.lines[2:], block.line + 2):
        name, meaning, default = (cell.strip() for cell in row.strip().strip("|").split(" | "))
        said[name.strip("`")] = (number, meaning, default.replace("`", ""))
    servers = {name: entries(h) for name, h in tree.helps.items() if "ADDRESS" in entries(h)}
    for name in sorted({name for flags in servers.values() for name in flags} - {"--help"}):
        having = [program for program, flags in servers.items() if name in flags]
        if name not in said:
            report(block.line, False, f"the table has {name}", f"it is a flag of {', '.join(having)}")
            continue
        number, meaning, default = said.pop(name)
        expected = {servers[program][name][0] for program in having}.pop()
        if len(having) < len(servers):
            expected = f"{', '.join(having)} only: {expected}"
        ok = same(meaning, expected)
        report(number, ok, f"the meaning of {name} is that of the help", "differs", [f"- {meaning}", f"+ {expected}"])
        defaults = {program: servers[program][name][1] for program in having}
        if len(set(defaults.values())) == 1:
            expected = defaults[having[0]]
            ok = default == expected
            report(number, ok, f"the default of {name} is that of the help", f"{default!r} is not {expected!r}")
        else:
            in_rows_above(name, number, defaults, text, report)
    for name, (number, *_) in said.items():
        report(number, False, f"{name} is a flag of a server", "no server's help has it")


def same(meaning, expected):
    """The same words; a cell of the table may begin with a small letter."""

    def small(sentence):
        head, colon, tail = sentence.rpartition("only: ")
        return head + colon + tail[:1].lower() + tail[1:]

    return small(meaning) == small(expected)


def in_rows_above(name, line, defaults, text, report):
    """A default that differs from program to program stands in the row that runs the program."""
    rows = [row for block in text.blocks if block.kind == "prose" for row in block.lines]
    for program, default in defaults.items():
        ok = any(f"cargo run -p {program}`" in row and default in row for row in rows)
        problem = f"no row with `cargo run -p {program}` holds {default}"
        report(line, ok, f"the table of the demos has {program}'s default {name}", problem)
