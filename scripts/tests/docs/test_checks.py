"""Checks the checks: each accepts a text that is true, and notices the same text made untrue in
one place. The texts are about a small tree with programs of a few lines."""

import os

import names
import pytest
from copy_of_tree import Copy
from session import Limits, Session
from text import Text
from tree import Tree, check_listing

FILES = {
    "crates/hello/main.rs": 'fn main() {\n    let name = "Ada";\n    println!("Hello {name}!");\n}\n',
    "crates/hello/it.rs": "#[tokio::test]\nasync fn it_greets_who_ever_asks() {}\n\nfn it_is_not_a_test() {}\n",
    "scripts/greet": 'printf "Your name? "\nread -r name\necho "> $name"\n',
    "scripts/server": "trap 'exit ${1:-0}' TERM\necho listening on ws://a:1\necho '< Ada'\nwhile :; do sleep 1 & wait $!; done\n",
    "OTHER.md": "# Other\n\n## What's `new`, here?\n",
}
HELP = """  [ADDRESS]  Where to listen [default: localhost:1]
      --max-size <BYTES>  The largest message [default: 100]
  -h, --help              Print help
"""
TEXT = """# Here

<!-- all of: crates/hello/main.rs -->
```rust
fn main() {
    let name = "Ada";
    println!("Hello {name}!");
}
```

<!-- part of: crates/hello/main.rs -->
```rust
println!("Hello {name}!");
```

[a](OTHER.md#whats-new-here) ![b](scripts/greet) [c][other] `it_greets_who_ever_asks` `scripts/server`
`cargo run -p hello`

[other]: #here

| flag | meaning | default |
| --- | --- | --- |
| `ADDRESS` | where to listen | above |
| `--max-size BYTES` | the largest message | 100 |

## Commands

```sh
echo one; echo "it took 12 ms" >&2
echo last
```

```text
one
it took … ms
last
```

<!-- type: Bob -->
<!-- run, status 0 -->
```sh
bash scripts/greet
```

```text
Your name? Bob
> Bob
```

<!-- serve -->
```sh
bash scripts/server
```

<!-- the server also prints -->
```text
…
< Ada
```

## Try this

<!-- patch: crates/hello/main.rs -->
```diff
 let name = "Ada";
-println!("Hello {name}!");
+println!("Bye {name}!");
```

```sh
grep -c Bye crates/hello/main.rs
```

```text
1
```

<!-- end of try -->
"""
UNTRUTHS = [  # (what is untrue, the true words, the untrue ones, what the failure says)
    ("a listing", '    let name = "Ada";\n    println', '    let name = "Eda";\n    println', "the listing equals"),
    ("a part", '```rust\nprintln!("Hello', '```rust\nprintln!("Hallo', "is a part of"),
    ("a listing without a mark", "<!-- all of: crates/hello/main.rs -->\n", "", "needs a mark"),
    ("a misspelt mark", "all of", "all off", "is no mark"),
    ("a mark without its fence", "-->\n```rust\nprint", "-->\n\nx\n\n```rust\nprint", "no fence directly below"),
    ("a fence that is never closed", "1\n```\n\n<!-- end of try -->\n", "1\n", "never closed"),
    ("a link", "(OTHER.md#", "(OTHERS.md#", "there is no file OTHERS.md"),
    ("an anchor", "#whats-new", "#what-s-new", "has no #what-s-new"),
    ("a reference", "[other]:", "[another]:", "is a link to nothing"),
    ("a test", "it_greets_who_ever_asks", "it_is_not_a_test", "a test has this name"),
    ("a path", "`scripts/server`", "`scripts/severs`", "there is scripts/severs"),
    ("a package", "-p hello`", "-p hallo`", "there is crates/hallo"),
    ("a default in the table of flags", "| 100 |", "| 200 |", "what the table says"),
    ("a flag that the table does not have", "| `--max-size BYTES` | the largest message | 100 |\n", "", "every flag"),
    ("an output", "… ms\nlast", "… ms\nlost", "is in the text"),
    ("a status", "status 0", "status 3", "ends with status 3"),
    ("a command that does not end", "echo one;", "sleep 100;", "within 2 s"),
    ("what a server prints", "…\n< Ada", "…\n< Eda", "is in the text"),
    ("a server that ends with a status", "scripts/server\n", "scripts/server 5\n", "its status is 5"),
    ("a server that ends by itself", "bash scripts/server", "echo listening on ws://a:1", "ended by itself"),
    ("a server that does not listen", "bash scripts/server", "sleep 100", "listens within"),
    ("a change that no longer fits", '-println!("Hello', '-println!("Hallo', "the change fits"),
    ("a try without its change", '+println!("Bye', '+println!("Hi', "ends with status 0"),
    ("a try without an end", "<!-- end of try -->\n", "", "has no <!-- end of try -->"),
]


class Short(Limits):
    command, end, last_lines = 2, 1, 0.3


def check_all(markdown, tree, copy):
    """All that is checked of the real texts."""
    text = Text("README.md", markdown)
    assert not text.problems
    for block in text.blocks:
        block.word or check_listing(block, tree)
    for _, link in text.links:
        names.check_link(link, text, tree)
    for _, code in text.spans:
        names.check_name(code, tree)
    for _, row in names.table(text):
        names.check_flag(row, {"hello-server": HELP})
    names.check_table(text, {"hello-server": HELP})
    for section in text.sections:
        session = Session(tree.root, {}, limits=Short)
        try:
            for block in section:
                session.step(block)
            session.stop(session.servers)
        finally:
            session.end()
    for blocks in text.tries:
        Copy(tree, copy).run(blocks, {}, limits=Short)


@pytest.fixture
def tree(tmp_path):
    for name, content in {**FILES, "README.md": TEXT}.items():
        file = tmp_path / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return Tree(tmp_path / "tree", [*FILES, "README.md"])


def test_a_true_text_is_accepted(tree, tmp_path):
    check_all(TEXT, tree, tmp_path / "copy")


@pytest.mark.parametrize("true, untrue, said", [pytest.param(*case, id=what) for what, *case in UNTRUTHS])
def test_an_untruth_is_noticed(true, untrue, said, tree, tmp_path):
    assert TEXT.count(true) == 1, f"{true!r} stands once"
    with pytest.raises(AssertionError, match=said):
        check_all(TEXT.replace(true, untrue), tree, tmp_path / "copy")


def test_what_a_command_leaves_behind_is_ended(tree):
    session = Session(tree.root, {}, limits=Short)
    pid = int(session.one("sleep 100 >/dev/null & echo $!", 0)[0])
    with pytest.raises(ProcessLookupError):
        while True:  # until init has waited for it; the test's limit ends this
            os.kill(pid, 0)
