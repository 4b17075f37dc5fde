"""Runs the commands of a text as a reader would, and compares what they print."""

import re
from contextlib import suppress

from programs import ENVIRONMENT, Program, answers
from tree import difference, joined, pattern

BUILD = re.compile(r"((?:\b[A-Z_]+=\S* +)*)\bcargo run\b([^|;&>()]*)")
PROGRAM = re.compile(r"\bcargo run(?: --quiet)?(?: --release)? -p ([\w-]++)(?! --(?:features|example)\b)(?: --(?= ))?")


class Limits:
    """In seconds."""

    build = 1200
    command = 60
    end = 15
    last_lines = 15  # what a server prints after the client has ended


class Command(Program):
    """A command and its output, without what cargo says of its own work."""

    echo = 0, b""  # where and what was typed

    def __init__(self, command, top, environment=()):
        quiet = {"CARGO_TERM_QUIET": "true", "CARGO_TERM_COLOR": "never", "NO_COLOR": "1"}
        super().__init__(
            "bash", "-c", command, name=command, cwd=top, merged=True, environment=ENVIRONMENT | quiet | dict(environment)
        )

    def lines(self):
        at, typed = self.echo
        return (self.printed[:at] + typed + self.printed[at:]).decode(errors="replace").splitlines()

    def answer(self, line, limit):
        """Waits for a prompt and types a line, which lines() then shows, as a terminal does."""
        self.until(lambda: self.printed and not self.printed.endswith(b"\n"), limit)
        self.echo = len(self.printed), line.encode() + b"\n"
        self.type(line)


class Session:
    """Runs fences in order; `ports` are the default ports of the programs by their names."""

    def __init__(self, top, ports, environment=(), limits=Limits, built=None):
        self.top, self.ports, self.environment, self.limits = top, ports, environment, limits
        self.servers = []
        self.built = set() if built is None else built  # the builds that were made

    def step(self, block):
        if "the server also prints" in block.marks:
            assert self.servers, "a server that runs prints this"
            self.servers[-1].expected += block.lines
        elif block.is_run():
            self.serve(block) if "serve" in block.marks else self.run(block)

    def start(self, command):
        """Builds beforehand, so that the limits are about running; a build's error shows there."""
        # `-p NAME` builds what a program depends on with just its own features, so once more for each
        # program. `--bin NAME` builds the same program with those of the whole workspace. That each
        # program compiles with its own is a step of scripts/test. The optimizer, which takes two
        # minutes for a program, changes no output. And cargo would wait for the builds of other steps.
        builds = [f"cargo build --bin {name}" for name in PROGRAM.findall(command)]
        folder = dict(self.environment).get("CARGO_TARGET_DIR", f"{self.top}/target")
        command = PROGRAM.sub(rf"{folder}/debug/\1", command)
        builds += [f"{variables}cargo build {arguments.split(' -- ')[0]}" for variables, arguments in BUILD.findall(command)]
        if command.startswith("scripts/make-cert"):
            builds.append("cargo build --features common/make-cert --example make-cert")
        for build in builds:
            if build not in self.built:
                Command(build, self.top, self.environment).end(self.limits.build)
                self.built.add(build)
        return Command(command, self.top, self.environment)

    def run(self, fence):
        *before, last = fence.commands()
        printed = [line for command in before for line in self.one(command)]
        printed += self.one(last, fence.marks.get("run") or 0, fence.marks.get("type"))
        if fence.output:
            shown = fence.output.lines
            assert pattern(shown).fullmatch(joined(printed)), difference(shown, printed)

    def one(self, command, status=0, typed=None):
        """Runs a command to its end; what it printed."""
        program = self.start(command)
        with suppress(BrokenPipeError):  # it has ended, and its status tells why
            if typed:
                program.answer(typed, self.limits.command)
            program.popen.stdin.close()
        ended = program.end(self.limits.command)
        what = f"`{command}` ends with status {status} within {self.limits.command} s (a server is marked <!-- serve -->)"
        assert ended == status, "\n".join([what, f"not {ended}", *program.lines()[-24:]])
        return program.lines()

    def serve(self, fence):
        *before, command = fence.commands()
        for earlier in before:
            self.one(earlier)
        port = fence.marks["serve"] or self.port(command)  # it says so itself unless the mark has one
        self.stop([server for server in self.servers if port and server.port == port])
        server = self.start(command)
        server.port, server.expected = port, list(fence.output.lines if fence.output else [])
        self.servers.append(server)
        says = re.compile(rb"^listening on .*\n", re.MULTILINE)
        ready = server.until(lambda: answers(port) if fence.marks["serve"] else says.search(server.printed), self.limits.command)
        assert ready, "\n".join([f"`{command}` listens within {self.limits.command} s", *server.lines()[-24:]])

    def port(self, command):
        """The port that a command will listen on, as far as one can tell."""
        words = command.split()
        given = [word for word in words if re.fullmatch(r"[\w.\[\]:-]*:\d+", word)]
        program = words[words.index("-p") + 1] if "-p" in words[:-1] else words[0].split("/")[-1]
        return int(given[0].rpartition(":")[2]) if given else self.ports.get(program)

    def stop(self, servers):
        """Ends servers by SIGTERM and compares what they have printed."""
        for server in list(servers):
            self.servers.remove(server)
            shown = pattern(server.expected)
            server.until(lambda: shown.match(joined(server.lines())), self.limits.last_lines)
            seen = "it ended by itself" if server.ended() else "its status is"
            status = server.stop(self.limits.end)
            what = f"`{server.name}` goes on until SIGTERM, then ends with status 0 within {self.limits.end} s"
            assert (seen, status) == ("its status is", 0), "\n".join([what, f"{seen} {status}", *server.lines()[-24:]])
            first = server.lines()[: len(server.expected) + 8]
            assert shown.match(joined(server.lines())), f"`{server.name}` prints: {difference(server.expected, first)}"

    def end(self):
        """Leaves nothing behind."""
        while self.servers:
            self.servers.pop().kill()
