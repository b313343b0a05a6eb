"""The command line: parse, call, print. The only layer that prints or exits."""

import sys


def main() -> None:
    """Run `tellapart`; exit 0 when done, 1 for a problem that the message explains, 2 for wrong usage."""
    from tellapart.cli.app import run

    sys.exit(run())
