"""A copy of the tree below target/, in which the changes that the texts propose are made and run.
It has a target folder of its own and is kept from one try to the next, so that cargo builds only
what has changed."""

import os
import re
import shutil

from session import Session
from tree import patched


class Copy:
    def __init__(self, tree, root):
        self.tree, self.root = tree, root

    def restore(self):
        """Undoes every change, and removes what the programs have made."""
        for folder, folders, files in os.walk(self.root):
            if folder == str(self.root) and "target" in folders:
                folders.remove("target")
            for file in files:
                path = os.path.join(folder, file)
                if os.path.relpath(path, self.root) not in self.tree.paths:
                    os.unlink(path)
        for name in self.tree.files:
            original, file = self.tree.root / name, self.root / name
            content = original.read_bytes()
            if os.path.basename(name) == "Cargo.toml":
                # With the same version, cargo would take a changed program of the copy for that of the tree.
                content = re.sub(rb'^version = "(.*)"', rb'version = "\1-try"', content, flags=re.MULTILINE)
            if not file.exists() or file.read_bytes() != content:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)  # with a new time, because cargo builds again what is newer
                shutil.copymode(original, file)

    def run(self, blocks, ports, **limits):
        """Makes the changes of a try and runs what stands below them."""
        shown = any(block.output or "the server also prints" in block.marks for block in blocks)
        assert shown, "the try shows what happens: an sh fence with a text fence after it"
        self.restore()
        # The dependencies were compiled for this tree already. Only the crates of the copy are not shared.
        folders = {"CARGO_TARGET_DIR": str(self.root / "target"), "CARGO_BUILD_BUILD_DIR": str(self.tree.root / "target")}
        session = Session(self.root, ports, folders, **limits)
        try:
            for block in blocks:
                if name := block.marks.get("patch"):
                    file = self.root / name
                    lines = patched(file.read_text(encoding="utf-8").split("\n"), block.lines)
                    file.write_text("\n".join(lines), encoding="utf-8")
                else:
                    session.step(block)
            session.stop(session.servers)
        finally:
            session.end()
