"""What all fetching ends with: papers beside the images, what is printed of it, and the exit status."""

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from tellapart.cli.terminal import Bars, complain, printable, tell

if TYPE_CHECKING:
    from tellapart.sources.collection import Collection, Summary
    from tellapart.sources.download import Fetched

_MOST_REFUSED = 10


@contextmanager
def resumable() -> Iterator[None]:
    """Tell whoever presses Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        complain("interrupted; the same command goes on from here")
        raise typer.Exit(130) from None


def fill(
    collection: "Collection",
    fetches: Iterable["Fetched"],
    title: str,
    source: str,
    licence_texts: Mapping[str, str] | None = None,
) -> tuple[list["Fetched"], "Summary"]:
    """Fetch class after class, lazily, and write the papers, whatever ends it: what arrived is of use."""
    command = shlex.join(["tellapart", *sys.argv[1:]])
    try:
        fetched = list(fetches)
    finally:
        summary = collection.write_papers(title, command, source=source, licence_texts=licence_texts)
    return fetched, summary


def show_result(
    collection: "Collection",
    fetched: Sequence["Fetched"],
    summary: "Summary",
    *,
    passed_over: Mapping[str, int] | None = None,
    failures: Sequence[str] = (),
    advice: str,
) -> int:
    """Print what arrived and what did not; return 1 if a class came up short.

    Parameters
    ----------
    passed_over
        How many images were found and not offered, by the reason.
    failures
        What was not answered, in words.
    advice
        What to do about a class that came up short.
    """
    for result in fetched:
        tell(f"{printable(result.label)}: {result.here:,} images, {result.new:,} of them new")
        for key, reason in list(result.refused.items())[:_MOST_REFUSED]:
            tell(f"  could not be had: {printable(key)}: {printable(reason)}")
        if len(result.refused) > _MOST_REFUSED:
            tell(f"  … and {len(result.refused) - _MOST_REFUSED:,} more that could not be had")
    for reason, n in (passed_over or {}).items():
        tell(f"{n:,} found and not taken: {reason}")
    if summary.counts:
        tell(f"manifest: {printable(str(collection.manifest))}")
    for warning in (*failures, *summary.warnings):
        Bars().say(f"warning: {printable(warning)}")
    short = [result for result in fetched if result.is_short]
    for result in short:
        complain(
            f"class {printable(result.label)!r} came up short: "
            f"{result.here:,} of {result.wanted:,} images; {advice}"
        )
    return 1 if short else 0
