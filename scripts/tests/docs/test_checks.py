"""Checks the checks: each accepts a text that is true, and notices the same text made untrue in
one place. The texts are about a small tree with programs of a few lines."""

import names
import pytest
from copy_of_tree import Copy
from session import Limits, Session
from text import Text
from tree import Tree, check_listing, check_translation

FILES = {
    "crates/hello/main.rs": 'fn main() {\n    let name = "Ada";\n    println!("Hello {name}!");\n}\n',
    "crates/hello/it.rs": "#[tokio::test]\nasync fn it_greets_who_ever_asks() {}\n\nfn it_is_not_a_test() {}\n",
    "scripts/greet": 'printf "Your name? "\nread -r name\necho "> $name"\n',
    "scripts/server": "trap 'exit ${1:-0}' TERM\necho listening on ws://a:1\necho '< Ada'\nwhile :; do sleep 1 & wait $!; done\n",
    "OTHER.md": "# Other\n\n## What's `new`, here?\n",
}
HELP = "  [ADDRESS]  Where to listen [default: a:1]\n      --max-size <BYTES>  The largest message [default: 100]\n"
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

[a](OTHER.md#whats-new-here) ![b](scripts/greet) `it_greets_who_ever_asks` `scripts/server`

| flag | meaning | default |
| --- | --- | --- |
| `ADDRESS` | where to listen | above |
| `--max-size BYTES` | the largest message | 100 |

<!-- type: Bob -->
<!-- run, status 0 -->
```sh
echo "it took 12 ms" >&2; bash scripts/greet
```

```text
it took … ms
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
grep Bye crates/hello/main.rs
```

```text
    println!("Bye {name}!");
```

<!-- end of try -->
"""
UNTRUTHS = [  # (the true words, the untrue ones, what the failure says)
    ('    let name = "Ada";\n    println', '    let name = "Eda";\n    println', "the listing equals"),
    ('```rust\nprintln!("Hello', '```rust\nprintln!("Hallo', "is in the text"),
    ("<!-- all of: crates/hello/main.rs -->\n", "", "needs a mark"),
    ("all of", "all off", "is no mark"),
    ("-->\n```rust\nprint", "-->\n\nx\n\n```rust\nprint", "no fence directly below"),
    ("(OTHER.md#", "(OTHERS.md#", "there is no file OTHERS.md"),
    ("#whats-new", "#what-s-new", "has no #what-s-new"),
    ("it_greets_who_ever_asks", "it_is_not_a_test", "a test has this name"),
    ("`scripts/server`", "`scripts/severs`", "there is scripts/severs"),
    ("| 100 |", "| 200 |", "what the table says"),
    ("| `--max-size BYTES` | the largest message | 100 |\n", "", "every flag"),
    ("… ms\nYour", "… ms\nMy", "is in the text"),
    ("status 0", "status 3", "ends with status 3"),
    ("bash scripts/greet", "sleep 100", "not None"),
    ("…\n< Ada", "…\n< Eda", "is in the text"),
    ("scripts/server\n", "scripts/server 5\n", "its status is 5"),
    ("bash scripts/server", "echo listening on ws://a:1", "ended by itself"),
    ("bash scripts/server", "sleep 100", "listens within"),
    ('-println!("Hello', '-println!("Hallo', "is in the text"),
    ("<!-- end of try -->\n", "", "has no <!-- end of try -->"),
]


class Short(Limits):
    command = last_lines = 5


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
    names.check_flags(text, {"hello-server": HELP})
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


@pytest.mark.parametrize("true, untrue, said", UNTRUTHS)
def test_an_untruth_is_noticed(true, untrue, said, tree, tmp_path):
    assert TEXT.count(true) == 1, f"{true!r} stands once"
    with pytest.raises(AssertionError, match=said):
        check_all(TEXT.replace(true, untrue), tree, tmp_path / "copy")


@pytest.mark.parametrize("true, untrue", [
    ("## Try this\n", ""), ("-->\n```rust\nprint", "-->\n```js\nprint"), ("<!-- type: Bob -->\n", ""), ("> Bob", "> Eve"),
    (TEXT[TEXT.index("<!-- serve") : TEXT.index("## Try")], "")])
def test_a_difference_of_a_translation_is_noticed(true, untrue):
    original = Text("README.md", TEXT)
    check_translation(Text("README.zh-Hant.md", TEXT.replace("# Here", "# 這裡")), original)
    assert TEXT.count(true) == 1
    with pytest.raises(AssertionError, match="of README.md|as README.md"):
        check_translation(Text("README.zh-Hant.md", TEXT.replace(true, untrue)), original)


def test_a_change_to_try_is_not_built_into_the_tree(tmp_path):
    files = {
        "Cargo.toml": '[workspace]\nmembers = ["greet"]\nresolver = "3"\n[workspace.package]\nversion = "0.0.0"\n',
        "greet/Cargo.toml": '[package]\nname = "greet"\nversion.workspace = true\n',
        "greet/src/main.rs": 'fn main() {\n    println!("Hello");\n}\n',
    }
    for name, content in files.items():
        file = tmp_path / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    tree = Tree(tmp_path / "tree", list(files))
    greet = "```sh\ncargo run -p greet\n```\n\n```text\n{}\n```\n"
    change = '<!-- patch: greet/src/main.rs -->\n```diff\n-println!("Hello");\n+println!("Bye");\n```\n\n'

    def run_in_the_tree():
        for block in Text("README.md", greet.format("Hello")).blocks:
            Session(tree.root, {}).step(block)

    run_in_the_tree()
    Copy(tree, tmp_path / "copy").run(Text("README.md", change + greet.format("Bye")).tries[0], {})
    run_in_the_tree()


def test_what_a_command_leaves_behind_is_ended(tree):
    session = Session(tree.root, {}, limits=Short)
    # Held open by whoever lives: nobody has it as soon as the command's group has ended.
    session.one("(exec 3>held; flock 3; echo; exec sleep 100) >said & until [ -s said ]; do :; done")
    session.one("flock --timeout 30 held true")
