"""What lies beside the images of a collection: manifest, attributions, licences and a dataset card."""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tellapart.sources.arrival import Arrival, now

LEADING_COLUMNS = (
    "path",
    "label",
    "group",
    "id",
    "age",
    "sex",
    "site",
    "licence",
    "licence_url",
    "attribution",
    "url",
    "sha256",
    "bytes",
    "width",
    "height",
    "source_sha256",
    "source_bytes",
    "fetched_at",
)
"""Columns of every manifest, in this order; a source's other columns follow."""

_MEANS_SOMETHING = frozenset({*LEADING_COLUMNS, "split"}) - {"age", "sex", "site"}
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a collection holds.

    Attributes
    ----------
    counts, licences
        Images per class and per licence (``"unknown"`` where a source named none).
    refused
        Images that were offered and can never be had: id -> reason.
    warnings
        Plain sentences for the user: licences that forbid some uses, licences not known.
    """

    counts: Mapping[str, int]
    licences: Mapping[str, int]
    refused: Mapping[str, str]
    warnings: tuple[str, ...]


def summarise(arrivals: Sequence[Arrival], refused: Mapping[str, str]) -> Summary:
    """Count images by class and by licence, and say which licences ask for care."""
    counts = Counter(arrival.candidate.label for arrival in arrivals)
    kinds = Counter(arrival.candidate.licence or UNKNOWN for arrival in arrivals)
    warnings = []
    non_commercial = sum(n for name, n in kinds.items() if "NC" in re.split(r"[^A-Z]+", name.upper()))
    if non_commercial:
        warnings.append(
            f"{non_commercial} of {len(arrivals)} images may not be used commercially (see attribution.txt); "
            "whether that holds for a model trained on them is for you to judge"
        )
    if kinds[UNKNOWN]:
        warnings.append(
            f"{kinds[UNKNOWN]} of {len(arrivals)} images came without a licence: "
            "find out whether you may use them before you publish anything made from them"
        )
    return Summary(dict(sorted(counts.items())), dict(kinds.most_common()), refused, tuple(warnings))


def manifest(arrivals: Sequence[Arrival]) -> str:
    """Return the CSV that `Dataset.from_manifest` reads."""
    rows = [_row(arrival) for arrival in arrivals]
    others = sorted({column for row in rows for column in row} - set(LEADING_COLUMNS))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*LEADING_COLUMNS, *others], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(arrival: Arrival) -> dict[str, str]:
    offered = arrival.candidate
    width, height = arrival.size_px
    return {
        **{_column(name): _line(value) for name, value in offered.metadata.items()},
        "path": arrival.path,
        "label": _line(offered.label),
        "group": _line(offered.group or ""),
        "id": offered.id,
        "licence": _line(offered.licence),
        "licence_url": _line(offered.licence_url),
        "attribution": _line(offered.attribution),
        "url": _line(offered.url),
        "sha256": arrival.sha256,
        "bytes": str(arrival.n_bytes),
        "width": str(width),
        "height": str(height),
        "source_sha256": arrival.source_sha256,
        "source_bytes": str(arrival.source_bytes),
        "fetched_at": arrival.at,
    }


def _column(name: str) -> str:
    """Return the column of a source's own fact; one that would mean something else here gets a prefix."""
    name = _line(name)
    return f"source_{name}" if not name or name in _MEANS_SOMETHING else name


def attribution(arrivals: Sequence[Arrival]) -> str:
    """Return who must be named, under which licence, and for how many images: most images first."""
    terms = Counter(
        (a.candidate.licence or UNKNOWN, a.candidate.licence_url, _line(a.candidate.attribution))
        for a in arrivals
    )
    by_licence: dict[tuple[str, str], list[str]] = {}
    for (licence, url, name), n in sorted(terms.items(), key=lambda item: (-item[1], item[0])):
        who = name or "no name given"
        by_licence.setdefault((licence, url), []).append(f"  {who} ({n} {_images(n)})")
    parts = (
        "\n".join([f"{licence} {url}".strip(), *names])
        for (licence, url), names in sorted(by_licence.items())
    )
    return "\n\n".join(parts) + "\n"


def licences(arrivals: Sequence[Arrival], texts: Mapping[str, str]) -> dict[str, str]:
    """Return a file name and a text for each licence among the images."""
    found: dict[str, str] = {}
    for arrival in arrivals:
        name, url = arrival.candidate.licence, arrival.candidate.licence_url
        if name and (name not in found or not found[name]):
            found[name] = url
    return {
        f"licences/{re.sub(r'[^A-Za-z0-9.+-]+', '-', name).strip('.-') or UNKNOWN}.txt": texts.get(name)
        or f"{name}\n{url or 'The source named no address of its text.'}\n"
        for name, url in sorted(found.items())
    }


def card(
    arrivals: Sequence[Arrival],
    summary: Summary,
    request: Mapping[str, str],
    title: str,
    command: str,
    source: str,
) -> str:
    """Return the dataset card: what this is, how it was chosen, what may be done with it."""
    n_images = sum(summary.counts.values())
    n_groups = len({a.candidate.group for a in arrivals if a.candidate.group})
    lines = [
        f"# {_line(title)}",
        "",
        _line(source),
        "",
        f"Fetched until {max(a.at for a in arrivals)} with",
        "",
        "```",
        command,
        "```",
        "",
        "## Images",
        *_table(["class", "images"], summary.counts),
        "",
        f"{n_images} images" + (f" of {n_groups} groups (patients or lesions)." if n_groups else "."),
        *([f"{len(summary.refused)} more were offered and could not be used."] if summary.refused else []),
        "Each was checked on arrival: its length, that it decodes, and its size where one was announced.",
        "",
        "## How they were chosen",
        *_table(["option", "value"], request),
        "",
        "## Licences",
        *_table(["licence", "images"], summary.licences),
        "",
        *[f"- {warning[0].upper()}{warning[1:]}." for warning in summary.warnings],
        "- `attribution.txt` says who must be named, `licences/` what the licences are.",
        "",
        "## Training on them",
        "`manifest.csv` has one row per image. Its `group` keeps images of one patient or lesion together.",
        "",
        "```",
        "tellapart check manifest.csv",
        "tellapart train manifest.csv --out run",
        "```",
        "",
        f"Written at {now()} by tellapart.",
    ]
    return "\n".join(lines) + "\n"


def _table(header: Sequence[str], rows: Mapping[str, object]) -> list[str]:
    cells = [header, ["---"] * len(header), *rows.items()]
    return ["| " + " | ".join(_line(str(cell)).replace("|", "\\|") for cell in row) + " |" for row in cells]


def _line(text: str) -> str:
    """Return text on one line, without what a UTF-8 text file cannot hold."""
    printable = "".join(c if c.isprintable() or c.isspace() else " " for c in text)
    return " ".join(printable.split())


def _images(n: int) -> str:
    return "image" if n == 1 else "images"
