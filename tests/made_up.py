"""Datasets without files, for what only counts, groups and content hashes decide."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tellapart.data.dataset import Dataset
from tellapart.records import Sample


def made_up(
    labels: str,
    *,
    groups: Sequence[str | None] | None = None,
    splits: Sequence[str] | None = None,
    contents: Sequence[str] | None = None,
    metadata: Sequence[Mapping[str, str]] | None = None,
) -> Dataset:
    """One sample per letter of `labels`, such as ``"aaabb"``: ids ``a/000``, ``a/001`` … and own contents."""
    samples = tuple(
        Sample(
            id=f"{label}/{i:03d}",
            path=Path(f"{label}/{i:03d}"),
            label=label,
            split=splits[i] if splits else None,
            group=groups[i] if groups else None,
            metadata=metadata[i] if metadata else {},
            sha256=contents[i] if contents else f"content {i}",
        )
        for i, label in enumerate(labels)
    )
    return Dataset(samples, tuple(sorted(set(labels))))


def ids(dataset: Dataset | None) -> list[str]:
    """The samples' ids, in order; none for no dataset."""
    return [sample.id for sample in dataset.samples] if dataset else []
