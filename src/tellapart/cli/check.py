"""`tellapart check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli.options import Data
from tellapart.cli.terminal import complain, printable, shown_progress, tell
from tellapart.errors import ConfigError

if TYPE_CHECKING:
    from tellapart.audit.check import Audit
    from tellapart.audit.findings import Finding

SHOWN = 5
"""Findings of one kind that the terminal shows; all of them are in --json."""

NAMED = 3
"""Images that are named beside a finding that concerns several."""


def check(
    data: Data,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every finding, with its figures.")
    ] = None,
    group_by: Annotated[str | None, typer.Option(help="Manifest column: patient, lesion, …")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 on leaks or unreadable files.")
    ] = False,
    strip: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write copies without EXIF and other metadata.")
    ] = None,
) -> int:
    """Say what is wrong with the images of DATA: bad files, copies, leaks, labels, shortcuts, imbalance."""
    from tellapart import api
    from tellapart.audit.clean_copies import strip as write_clean
    from tellapart.cli.data import load_data
    from tellapart.data.files import write_atomically

    _check_outside(strip, data)
    dataset = load_data(data)
    if group_by:
        dataset = dataset.grouped_by(group_by)
    audit = api.check(dataset, progress=shown_progress())
    _show(audit)
    if json_file is not None:
        # A path that is not valid UTF-8 holds surrogates; escaped so, JSON reads them back.
        write_atomically(json_file, audit.to_json().encode("utf-8", "backslashreplace"))
        tell(f"all findings  {printable(str(json_file))}")
    if strip is not None:
        copies = write_clean(audit.dataset, strip, progress=shown_progress())
        tell(f"{len(copies)} copies without metadata  {printable(str(strip))}")
    if strict and audit.has_errors:
        n = audit.counts["error"]
        errors = "1 error that makes" if n == 1 else f"{n} errors that make"
        complain(f"{errors} figures wrong; --strict ends with 1")
        return 1
    return 0


def _check_outside(out: Path | None, data: Path) -> None:
    if out is not None and data.is_dir() and out.resolve().is_relative_to(data.resolve()):
        raise ConfigError(
            f"--strip {out} lies in {data}, of which the copies would become a part; take another folder"
        )


def _first(finding: "Finding") -> str:
    """Return the first images of a finding whose message names none."""
    ids = finding.sample_ids
    if not ids or any(name in finding.message for name in ids):
        return ""
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return f" ({', '.join(ids[:NAMED])}{more})"


def _show(audit: "Audit") -> None:
    counts = ", ".join(f"{name} ({n})" for name, n in audit.dataset.counts.items())
    tell(f"{len(audit.dataset)} images: {printable(counts)}")
    for kind, findings in audit.by_kind().items():
        tell(f"\n{findings[0].severity}: {kind}" + (f" ({len(findings)})" if len(findings) > 1 else ""))
        for finding in findings[:SHOWN]:
            tell(f"  {printable(finding.message)}{printable(_first(finding))}")
        if len(findings) > SHOWN:
            tell(f"  … and {len(findings) - SHOWN} more; --json FILE writes all")
    for sentence in audit.left_out:
        tell(f"\nnot looked at: {printable(sentence)}")
    found = ", ".join(_counted(audit.counts[severity], severity) for severity in ("error", "warning", "note"))
    tell(f"\n{found}" if audit.findings else "\nnothing found")


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
