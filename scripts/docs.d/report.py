"""Prints a line per check and counts."""


class Report:
    def __init__(self, silent=False):
        self.passed = self.failed = 0
        self.silent = silent
        self.failures = []

    def check(self, ok, where, sentence, problem="", details=()):
        """`sentence` is what should be true, `problem` what is there instead."""
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            self.failures.append(f"{where} {sentence}: {problem}")
        if self.silent:
            return
        if ok:
            print(f"ok - {where} {sentence}", flush=True)
        else:
            print(f"not ok - {where} {sentence}{': ' if problem else ''}{problem}", flush=True)
            for line in details:
                print(f"    {line}", flush=True)
