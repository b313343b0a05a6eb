"""A finding: what was noticed about a set of images, and what to do about it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
"""An error makes figures wrong (leaks, unreadable files); a warning may; a note is good to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was noticed.

    Attributes
    ----------
    kind
        In two or three words, such as ``"near-duplicate"`` or ``"suspected label"``; findings of a kind are
        shown together.
    severity
        See `Severity`.
    message
        One plain sentence: what it is, and what to do about it.
    sample_ids
        The images concerned, the most telling first.
    details
        Figures behind it, ready for JSON.
    """

    kind: str
    severity: Severity
    message: str
    sample_ids: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


def gravest_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return errors, then warnings, then notes, otherwise in their order."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def by_kind(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Return the findings of each kind, the kinds with the gravest first."""
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for finding in gravest_first(findings):
        kinds[finding.kind].append(finding)
    return dict(kinds)
