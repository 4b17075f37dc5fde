"""Runs the commands of a text as a reader would, and compares what they print."""

import os
import re
import socket
import subprocess
import time

import compare
import parse
from listings import sh_fences
from process import Process, poll

READY = re.compile(rb"^listening on .*\n", re.MULTILINE)


def answers(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class Limits:
    """In seconds."""

    command = 60
    build = 300
    first_build = 1200
    prompt = 10
    end = 15
    last_lines = 5  # what a server prints after the client has ended


def environment(**more):
    return {**os.environ, "CARGO_TERM_COLOR": "never", "NO_COLOR": "1", **more}


def shown(command):
    """A command in a sentence."""
    command = " ".join(command.split())
    return f"`{command}`" if len(command) < 80 else f"`{command[:76]} …`"


def builds(blocks):
    """What to build so that `cargo run` and `cargo test` in these blocks have nothing to build."""
    found = {}
    for fence in sh_fences(blocks):
        for _, command in parse.command_lines(fence):
            if match := re.match(r"((?:\w+=\S* +)*)cargo (run|test)\b(.*)", command):
                arguments = re.split(r" -- | -- ?$|[|;&>]", match[3])[0]
                build = {"run": "build", "test": "test --no-run"}[match[2]]
                found[f"{match[1]}cargo {build}{arguments}"] = True
            elif command.startswith("scripts/make-cert"):
                found["cargo build -p common --features make-cert --example make-cert"] = True
    return list(found)


class Server:
    def __init__(self, process, where, port, output):
        self.process, self.where, self.port = process, where, port
        self.outputs = [output] if output else []

    def expected(self):
        return [line for fence in self.outputs for line in fence.lines]


class Runner:
    """Runs blocks in order; `ports` are the default ports of the programs by their names."""

    def __init__(self, text, top, env, ports, report, limits=Limits):
        self.text, self.top, self.env, self.ports = text, top, env, ports
        self.report, self.limits = report, limits
        self.servers = []

    def run(self, blocks):
        commands = {id(fence) for fence in sh_fences(blocks)}
        for block in blocks:
            if block.kind == "heading" and block.level <= 2 or block.lines == ["stop"]:
                self.stop(self.servers)
            elif id(block) in commands and not list(parse.command_lines(block)):
                self.report.check(False, self.where(block.line), "the fence has a command")
            elif id(block) in commands and "serve" in block.marks:
                self.serve(block)
            elif id(block) in commands:
                self.run_to_the_end(block)
            elif "the server also prints" in block.marks:
                if self.servers:
                    self.servers[-1].outputs.append(block)
                else:
                    sentence = "a server that runs prints this"
                    self.report.check(False, self.where(block.line), sentence, "no server runs here")
        self.stop(self.servers)

    def where(self, line):
        return f"{self.text.name}:{line}"

    def run_to_the_end(self, fence):
        commands = list(parse.command_lines(fence))
        views = [[]]  # all that the fence printed, as a pipe and as a terminal shows it
        for line, command in commands:
            status = fence.marks.get("run") or 0 if (line, command) == commands[-1] else 0
            views, ok = self.one(line, command, status, fence.marks.get("type"), views)
            if not ok:
                return  # what follows builds on it
        if fence.output:
            expected = fence.output.lines
            ok = any(compare.equals(expected, view) for view in views)
            self.printed(fence.output.line, ok, expected, views[-1])

    def one(self, line, command, status, typed, views):
        """Runs a command, and adds what it printed to the views."""
        stdin = subprocess.DEVNULL if typed is None else subprocess.PIPE
        process = Process(command, self.top, self.env, stdin)
        prompt = None if typed is None else process.type(typed, self.limits.prompt)
        ended = process.wait(self.limits.command)
        printed = [process.lines()] + ([] if typed is None else [process.lines(prompt, typed)])
        sentence = f"{shown(command)} ends with status {status}"
        problem = f"its status is {ended}"
        if ended is None:
            problem = f"it did not end within {self.limits.command} s; mark it <!-- serve --> if it is a server"
        self.report.check(ended == status, self.where(line), sentence, problem, printed[0][-24:])
        return [before + view for before in views for view in printed], ended == status

    def printed(self, line, ok, expected, actual):
        sentence, problem = "the output is as shown", "- is in the text, + was printed"
        different = [] if ok else compare.difference(expected, actual)
        self.report.check(ok, self.where(line), sentence, problem, different)

    def serve(self, fence):
        *before, (line, command) = parse.command_lines(fence)
        for earlier_line, earlier in before:
            self.one(earlier_line, earlier, 0, None, [[]])
        silent = fence.marks["serve"]  # the port of a program that does not say when it listens
        port = silent or self.port(command)
        self.stop([server for server in self.servers if port and server.port == port])
        process = Process(command, self.top, self.env)
        self.servers.append(Server(process, self.where(line), port, fence.output))
        ready = lambda: answers(silent) if silent else READY.search(process.printed) is not None
        poll(lambda: process.ended() or ready(), self.limits.command)
        ok = not process.ended() and ready()
        problem = "it ended" if process.ended() else f"nothing within {self.limits.command} s"
        sentence = f"{shown(command)} says that it listens"
        self.report.check(ok, self.where(line), sentence, problem, process.lines()[-24:])

    def port(self, command):
        """The port that a command will listen on, as far as one can tell."""
        words = command.split()
        given = [w for w in words if re.fullmatch(r"[\w.\[\]:-]*:\d+", w)]
        program = words[words.index("-p") + 1] if "-p" in words[:-1] else words[0].split("/")[-1]
        return int(given[0].rpartition(":")[2]) if given else self.ports.get(program)

    def stop(self, servers):
        """Ends servers by SIGTERM and compares what they have printed."""
        for server in list(servers):
            process, expected = server.process, server.expected()
            poll(lambda: compare.begins(expected, process.lines()), self.limits.last_lines)
            too_early = process.ended()
            status = process.stop(self.limits.end)
            sentence = f"{shown(process.command)} goes on until SIGTERM, then ends with status 0"
            problem = f"its status is {status}"
            if status is None:
                problem = f"it did not end within {self.limits.end} s"
            if too_early:
                problem = f"it ended by itself with status {status}"
            ok = status == 0 and not too_early
            self.report.check(ok, server.where, sentence, problem, process.lines()[-24:])
            if server.outputs:
                ok = compare.begins(expected, process.lines())
                first_lines = process.lines()[: len(expected) + 8]
                self.printed(server.outputs[0].line, ok, expected, first_lines)
            self.servers.remove(server)


def build(blocks, top, env, limit):
    """Builds beforehand, so that the commands' limits are about running. What cannot be built is
    reported by the command that needs it."""
    began = time.monotonic()
    for command in builds(blocks):
        Process(command, top, env).wait(limit)
    return time.monotonic() - began


def check(text, tree, report, limits=Limits):
    env = environment()
    build(text.commands, tree.root, env, limits.first_build)
    Runner(text, tree.root, env, tree.default_ports(), report, limits).run(text.commands)
