"""Checks that what a text names exists: tests, flags, programs, files."""


def check(text, tree, report):
    pass
