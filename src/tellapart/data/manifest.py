"""Read the rows of a CSV or Parquet manifest, or a DataFrame, into samples."""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tellapart.data.scan import SPLIT_FOLDERS, Scan, portable_id
from tellapart.errors import ManifestError, MissingExtra
from tellapart.records import Sample, Skipped

MANIFEST_SUFFIXES = (".csv", ".parquet")
FETCHED, FETCHED_MANIFEST = ".tellapart/fetched.jsonl", "manifest.csv"
"""By which a folder of downloaded images is known, and the manifest that was written into it."""

_OWN_COLUMNS = ("path", "label", "split", "group")


def read_manifest(path: Path) -> Scan:
    """Read a manifest; image paths in it are relative to the folder that holds it.

    Raises
    ------
    ManifestError
        If the file is missing or unreadable, lacks ``path`` or ``label``, names images that do not
        exist, or contradicts itself.
    MissingExtra
        If it is Parquet and pyarrow is not installed.
    """
    if not path.is_file():
        raise ManifestError(f"no manifest at {path}")
    rows = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    return samples_from_rows(rows, path.parent, str(path))


def samples_from_rows(rows: Iterable[Mapping[str, Any]], root: Path, source: str) -> Scan:
    """Turn rows with ``path``, ``label`` and optional ``split``, ``group`` and metadata into samples."""
    cleaned = [{str(key): _text(value) for key, value in row.items() if key is not None} for row in rows]
    if not cleaned:
        raise ManifestError(f"{source} has no rows; it needs the columns path and label")
    for column in ("path", "label"):
        if column not in cleaned[0]:
            raise ManifestError(
                f"{source} has no column {column!r} (found: {', '.join(cleaned[0])}); it needs path and label"
            )
    has_splits = any(row.get("split") for row in cleaned)
    samples: dict[str, Sample] = {}
    skipped: list[Skipped] = []
    for row in cleaned:
        sample = _sample(row, root, source, has_splits)
        if not sample.label:
            skipped.append(Skipped(sample.id, "no label"))
        elif sample.id not in samples:
            samples[sample.id] = sample
        elif samples[sample.id].label == sample.label:
            skipped.append(Skipped(sample.id, "listed twice"))
        else:
            raise ManifestError(
                f"{source} gives {sample.id} two labels: {samples[sample.id].label} and {sample.label}"
            )
    _check_files_exist(samples.values(), source)
    return Scan(tuple(samples[key] for key in sorted(samples)), tuple(skipped))


def _sample(row: Mapping[str, str], root: Path, source: str, has_splits: bool) -> Sample:
    if not row["path"]:
        raise ManifestError(f"{source} has a row without a path")
    split = row.get("split", "").lower()
    if split and split not in SPLIT_FOLDERS:
        accepted = ", ".join(SPLIT_FOLDERS)
        raise ManifestError(f"{source} has the split {row['split']!r}; accepted: {accepted}, or blank")
    # A manifest that marks only its test rows means the others for training.
    return Sample(
        id=portable_id(row["path"]),
        path=root / row["path"],
        label=portable_id(row["label"]),
        split=SPLIT_FOLDERS[split] if split else ("train" if has_splits else None),
        group=row.get("group") or None,
        metadata={key: value for key, value in row.items() if key not in _OWN_COLUMNS},
    )


def _check_files_exist(samples: Iterable[Sample], source: str) -> None:
    missing = [sample.id for sample in samples if not sample.path.exists()]
    if missing:
        raise ManifestError(
            f"{source} names {len(missing)} files that do not exist, the first being {missing[0]}; "
            "paths are relative to the manifest's folder"
        )


def _read_csv(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = Counter(reader.fieldnames or ())
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as exc:
        raise ManifestError(f"{path} is not a UTF-8 CSV file ({exc})") from exc
    repeated = [name for name, n in columns.items() if n > 1]
    if repeated:
        raise ManifestError(f"{path} has the column {repeated[0]!r} twice")
    return rows


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as exc:
        raise MissingExtra("Parquet manifests need pyarrow: pip install 'tellapart[parquet]'") from exc
    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as exc:
        raise ManifestError(f"{path} is not a Parquet file ({exc})") from exc
    return rows


def _text(value: object) -> str:
    """Return a cell as text: missing values are empty, whole floats lose their point."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or str(value) == "<NA>":
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
