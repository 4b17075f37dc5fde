"""What can be told of the pages without a browser."""

import re
import runpy

from programs import ROOT

PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "web").glob("*.html"))}
with_hashes = runpy.run_path(str(ROOT / "scripts/csp"))["with_hashes"]


def test_every_policy_names_the_right_hashes():
    old = [name for name, page in PAGES.items() if page != with_hashes(page)]
    assert old == [], "scripts/csp --write renews them"


def test_a_policy_with_old_hashes_is_noticed():
    for page in PAGES.values():
        for tag in ("</style>", "</script>"):
            edited = page.replace(tag, f" {tag}", 1)
            assert edited != with_hashes(edited)


def test_what_is_the_same_in_every_page_is_the_same():
    for start, end in [(r"    /\* The same in every page \*/", r"    /\* This page's own \*/"),
                       (r"    // --- The connection: the same in every page", r"(    connect\(\);\n)?  </script>")]:
        found = {name: re.search(f"{start}.*?(?={end})", page, re.S) for name, page in PAGES.items()}
        assert all(found.values()), f"every page has what starts with {start}"
        assert len({part[0] for part in found.values()}) == 1, f"what starts with {start} differs"
