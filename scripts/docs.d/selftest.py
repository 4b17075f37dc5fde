"""Checks the checks."""


def run(report):
    pass
