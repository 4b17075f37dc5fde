"""The texts of the self-test, each with what makes it untrue, and the small tree they are about."""

import commands
import links
import listings
import names
import tries

FILES = {
    "crates/hello/src/main.rs": 'fn main() {\n    let name = "Ada";\n    println!("Hello {name}!");\n}\n',
    "crates/hello/tests/it.rs": "#[tokio::test]\nasync fn it_greets_who_ever_asks() {}\n\nfn it_is_not_a_test() {}\n",
    "scripts/greet": 'printf "Your name? "\nread -r name\necho "> $name"\necho "< Hello $name!"\n',
    "scripts/server": (
        "trap 'echo stopped; exit ${2:-0}' TERM\necho listening on ws://127.0.0.1:$1\n"
        "echo '< Ada'\necho '12:30:01 bye'\nwhile :; do sleep 1 & wait $!; done\n"
    ),
    "OTHER.md": "# Other\n\n## What's `new`, here?\n\n## Twice\n\n## Twice\n",
}
HELP = """Usage: hello-server [OPTIONS] [ADDRESS]

Arguments:
  [ADDRESS]  Where to listen [default: localhost:1]

Options:
      --max-size <BYTES>  The largest message [default: 100]
      --origin <ORIGIN>   Let in this one
                          [default: this machine]
  -h, --help              Print help
"""
TLS = "      --cert <FILE>       A certificate [default: certs/a.pem]\n"

# (checks, what the text is about, the text,
#     [(what is untrue, the true words, the untrue ones, what the failure must say)])
CASES = [
    (listings, "a whole listing", """
<!-- all of: crates/hello/src/main.rs -->
```rust
fn main() {
    let name = "Ada";
    println!("Hello {name}!");
}
```
""", [
        ("a listing with one changed character", "Hello", "Hallo", "the listing equals"),
        ("a listing with a missing line", '    let name = "Ada";\n', "", "the listing equals"),
        ("a listing of a file that is not there", "main.rs", "mian.rs", "there is no such file"),
        ("an unmarked listing", "<!-- all of: crates/hello/src/main.rs -->\n", "", "needs a mark"),
        ("a misspelt mark", "all of", "all off", "is no mark"),
        ("a mark without its fence", "```rust", "\n\n\n```rust", "no fence directly below"),
        ("a fence that is never closed", "}\n```", "}\n", "never closed"),
    ]),
    (listings, "a part of a file at another indentation", """
<!-- part of: crates/hello/src/main.rs -->
```rust
let name = "Ada";
println!("Hello {name}!");
```
""", [("a part with one changed character", "Ada", "Eda", "is a part of")]),
    (listings, "an output of a command", "```sh\necho a\n```\n\n```text\na\n```\n", [
        ("an output without a command", "```sh\necho a\n```\n", "", "needs a mark"),
    ]),
    (commands, "an output of commands", """
```sh
echo one; echo "it took 12 ms" >&2
echo last
```

```text
one
it took … ms
last
```
""", [
        ("a changed output line", "last\n```\n", "lost\n```\n", "the output is as shown"),
        ("a missing output line", "one\n", "", "the output is as shown"),
        ("an output line too many", "one\n", "one\ntwo\n", "the output is as shown"),
        ("a command with the wrong status", 'echo "it', 'false; exit 3; echo "it', "its status is 3"),
    ]),
    (commands, "a status that is stated", "<!-- run, status 3 -->\n```sh\nexit 3\n```\n", [
        ("a wrong status", "status 3", "status 4", "its status is 3"),
        ("a status that is not stated", "<!-- run, status 3 -->\n", "", "its status is 3"),
    ]),
    (commands, "a prompt, as a terminal shows it,", """
<!-- type: Ada -->
```sh
bash scripts/greet
```

```text
Your name? Ada
> Ada
< Hello Ada!
```
""", [
        ("another name", "type: Ada", "type: Bob", "the output is as shown"),
        ("another prompt", "Your name", "The name", "the output is as shown"),
    ]),
    (commands, "a prompt, without the echo,", """
<!-- type: Ada -->
```sh
bash scripts/greet
```

```text
Your name? > Ada
…
```
""", [("another greeting", "> Ada\n", "> Eda\n", "the output is as shown")]),
    (commands, "a server that says nothing", """
<!-- serve, port 47891 -->
```sh
python3 -c 'import signal, socket, sys; signal.signal(15, lambda *_: sys.exit()); s = socket.create_server(("127.0.0.1", 47891)); [s.accept() for _ in iter(int, 1)]'
```
""", [
        ("a server that listens elsewhere", "serve, port 47891", "serve, port 47892", "says that it listens"),
    ]),
    (commands, "a server", """
<!-- serve -->
```sh
bash scripts/server 1
```

```text
listening on ws://127.0.0.1:1
```

<!-- the server also prints -->
```text
< Ada
… bye
```

## Next
""", [
        ("a server that prints something else", "< Ada", "< Eda", "the output is as shown"),
        ("what a server prints, in another order", "listening on ws://127.0.0.1:1\n", "< Ada\n",
            "the output is as shown"),
        ("a server that ends with a status", "server 1", "server 1 5", "its status is 5"),
        ("a server that ends by itself", "bash scripts/server 1", "echo listening on ws://127.0.0.1:1",
            "ended by itself"),
        ("a server that does not listen", "bash scripts/server 1", "sleep 100", "says that it listens"),
        ("a server that is not stopped in time", "bash scripts/server 1",
            "trap '' TERM; bash scripts/server 1; sleep 100",
            "did not end within 1 s"),
        ("an output of a server that is stopped", "<!-- the server", "<!-- stop -->\n\n<!-- the server",
            "no server runs here"),
    ]),
    (commands, "a command that ends", "```sh\nsleep 0.1 & echo $! > pid; wait\n```\n", [
        ("a command that does not end", "sleep 0.1", "sleep 100", "did not end within 2 s"),
    ]),
    (tries, "a try", """
<!-- patch: crates/hello/src/main.rs -->
```diff
 let name = "Ada";
-println!("Hello {name}!");
+println!("Bye {name}!");
```

```sh
grep -c Bye crates/hello/src/main.rs
```

```text
1
```

<!-- end of try -->
""", [
        ("a change that no longer fits", '-println!("Hello', '-println!("Hallo', "rs fits: - is in the text"),
        ("a change that fits more than once", """crates/hello/src/main.rs -->
```diff
 let name = "Ada";
-println!("Hello {name}!");
""", "OTHER.md -->\n```diff\n-## Twice\n", "fits more than once"),
        ("a change of a file that is not there", "patch: crates/hello/", "patch: crates/hallo/", "there is no file"),
        ("a try with another output", "1\n```", "2\n```", "the output is as shown"),
        ("a try without its change", "+println!(\"Bye", "+println!(\"Hi", "its status is 1"),
        ("a try that shows nothing", "```text\n1\n```\n", "", "no sh fence with a text fence"),
    ]),
    (listings, "a try that ends", "<!-- patch: OTHER.md -->\n```diff\n-a\n+b\n```\n\n<!-- end of try -->\n", [
        ("a try without an end", "<!-- end of try -->\n", "## Next\n", "has no <!-- end of try -->"),
        ("a diff without a mark", "<!-- patch: OTHER.md -->\n", "", "needs a mark"),
    ]),
    (links, "a text with links", """
# Here

[a](OTHER.md#whats-new-here) [b](#here) [c](scripts/) [d](OTHER.md#twice-1) [`e`](https://example.com/)
![f](scripts/greet) [g][other]

[other]: OTHER.md
""", [
        ("a broken link", "(OTHER.md#whats", "(OTHERS.md#whats", "there is no file OTHERS.md"),
        ("a broken anchor", "whats-new", "what-s-new", "OTHER.md has no #what-s-new"),
        ("a broken anchor in the text itself", "(#here)", "(#there)", "README.md has no #there"),
        ("a second heading of a name that is there once", "twice-1", "twice-2", "OTHER.md has no #twice-2"),
        ("a broken image", "![f](scripts/greet)", "![f](scripts/great)", "there is no file scripts/great"),
        ("a broken reference", "[other]: OTHER.md", "[another]: OTHER.md", "[other] is defined"),
        ("a link out of the tree", "(scripts/)", "(../scripts/)", "there is no file ../scripts"),
    ]),
    (names, "a text with names", """
See `it_greets_who_ever_asks`, `--max-size` and `hello-server --max-size 1`, and run `scripts/greet`.

```sh
cargo run -p hello -- --cert a.pem
```

| flag | meaning | default |
| --- | --- | --- |
| `ADDRESS` | where to listen | see below |
| `--max-size BYTES` | the largest message | 100 |
| `--origin ORIGIN` | let in this one | this machine |
| `--cert FILE` | hello only: a certificate | `certs/a.pem` |

| `cargo run -p hello` | <http://localhost:2/> |
| `cargo run -p hello-server` | <http://localhost:1/> |
""", [
        ("a test that does not exist", "it_greets_who_ever_asks", "it_greets_who_never_asks",
            "it_greets_who_never_asks is a test"),
        ("a function that is no test", "it_greets_who_ever_asks", "it_is_not_a_test", "it_is_not_a_test is a test"),
        ("a flag that does not exist", "`--max-size` and", "`--max-sizes` and", "--max-sizes is a flag"),
        ("a flag of another program", "hello-server --max-size 1", "hello-server --cert 1",
            "--cert is a flag of hello-server"),
        ("a flag of a command that does not exist", "-- --cert a.pem", "-- --certs a.pem",
            "--certs is a flag of hello"),
        ("a changed default in the table of flags", "| 100 |", "| 200 |", "the default of --max-size BYTES"),
        ("a changed meaning in the table of flags", "the largest message", "the longest message",
            "the meaning of --max-size BYTES"),
        ("a changed value's name in the table of flags", "--max-size BYTES", "--max-size SIZE",
            "--max-size SIZE is a flag of a server"),
        ("a flag that is missing in the table", "| `--origin ORIGIN` | let in this one | this machine |\n", "",
            "the table has --origin ORIGIN"),
        ("a flag of one program that the table gives to all", "hello only: a certificate", "a certificate",
            "the meaning of --cert FILE"),
        ("a changed default address", "<http://localhost:2/>", "<http://localhost:3/>", "hello's default ADDRESS"),
        ("a program that does not exist", "cargo run -p hello --", "cargo run -p hallo --", "hallo is a program"),
        ("a script that does not exist", "`scripts/greet`", "`scripts/great`", "scripts/great exists"),
    ]),
]

