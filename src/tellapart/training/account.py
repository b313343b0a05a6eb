"""The account of a run: what the report and ``run.json`` say about data, split and settings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tellapart.audit import labels, outliers
from tellapart.audit.check import of_pictures
from tellapart.audit.findings import Finding, by_kind
from tellapart.audit.inspection import inspect
from tellapart.audit.neighbours import Neighbours
from tellapart.data.dataset import Dataset
from tellapart.data.duplicates import clusters_by_id
from tellapart.evaluation.subgroups import MOST_VALUES, banded
from tellapart.progress import SILENT, Progress
from tellapart.training.config import TrainConfig
from tellapart.training.features import Features
from tellapart.training.fitted import Choices, Fitted
from tellapart.training.partition import FOLD, Partition, clusters_parted_blindly, kept_apart, leaks


def flow(received: Dataset, used: Dataset, partitions: Sequence[Partition]) -> list[tuple[str, int]]:
    """Return the images' way from received to used; losses are negative."""
    n_lost = len(used.ledger)
    steps = [("files found", len(received) + len(received.ledger))]
    if n_lost:
        steps.append(("not usable (listed below)", -n_lost))
    steps.append(("used", len(used)))
    if len(partitions) == 1 and len(partitions[0].parts) > 1:
        steps += [(_PART_WORDS[name], len(part)) for name, part in partitions[0].parts.items()]
    elif len(partitions) > 1:
        steps += [
            (f"fold {i}", len(one.test)) for i, one in enumerate(partitions, start=1) if one.test is not None
        ]
    return steps


_PART_WORDS = {"train": "training", "val": "validation", "test": "test"}


def partition_rows(partitions: Sequence[Partition]) -> list[dict[str, int | str]]:
    """Return one row per part (per fold's test part for a k-fold): images, groups and each class."""
    if len(partitions) == 1:
        named = {_PART_WORDS[name]: part for name, part in partitions[0].parts.items()}
    else:
        named = {f"fold {i}": one.test for i, one in enumerate(partitions, start=1) if one.test is not None}
    return [
        {"split": name, "images": len(part), "groups": len(set(part.tied())), **part.counts}
        for name, part in named.items()
    ]


def disjoint_by(dataset: Dataset, config: TrainConfig, partitions: Sequence[Partition]) -> str:
    """Say at which levels the parts are disjoint; empty when a given split leaks at all of them."""
    leaking = leaks(kept_apart(partitions))
    levels = {"identical file": "file content"}
    if dataset.groups is not None:
        levels = {"group": config.group_by or "group", **levels}
    if dataset.near is not None and config.near_duplicates:
        levels["near-duplicate"] = "near-duplicates"
    kept = [level for kind, level in levels.items() if kind not in leaking]
    return " and ".join(filter(None, [", ".join(kept[:-1]), *kept[-1:]]))


def findings(dataset: Dataset, partitions: Sequence[Partition], config: TrainConfig) -> list[str]:
    """Say what a scan of contents, groups and near-duplicates found; empty when clean."""
    leaking = leaks(kept_apart(partitions))
    said = list(leaking.values())
    conflicts = dataset.label_conflicts()
    if conflicts:
        shown = "; ".join(" = ".join(ids) for ids in conflicts[:5])
        said.append(f"{len(conflicts)} × identical files with different labels: {shown}")
    n_copies = dataset.n_duplicates()
    if n_copies:
        kept = "" if "identical file" in leaking else "; copies stay on one side"
        said.append(f"{n_copies} files are byte-for-byte copies of another{kept}")
    if dataset.near_alone:
        said.append(f"near-duplicates were looked for by pictures alone: {dataset.near_alone}")
    if dataset.near:
        said += _near_findings(dataset)
        if "near-duplicate" not in leaking:
            parted = clusters_parted_blindly(dataset, partitions, config)
            moved = f"; {parted} would otherwise have been on two sides" if parted else ""
            said[-1] += f"; each cluster stays on one side{moved}"
    return said


def near_method(dataset: Dataset, config: TrainConfig) -> str:
    """Say by what near-duplicates were looked for: what `tellapart check` uses, or why not."""
    if not config.near_duplicates:
        return "not looked for"
    alone = dataset.near_alone
    return f"by pictures alone: {alone}" if alone else "by pictures, and features of the default network"


def _near_findings(dataset: Dataset) -> list[str]:
    """Say which near-duplicates have different labels, and how many near-duplicates there are."""
    label_of = {sample.id: sample.label for sample in dataset.samples}
    pairs = dataset.near or ()
    said = []
    conflicts = [pair for pair in pairs if label_of[pair.first] != label_of[pair.second]]
    if conflicts:
        shown = "; ".join(f"{pair.first} = {pair.second}" for pair in conflicts[:5])
        said.append(f"{len(conflicts)} × near-duplicates with different labels: {shown}")
    cluster_of = clusters_by_id(pairs)
    n_clusters = len(set(cluster_of.values()))
    word = "cluster" if n_clusters == 1 else "clusters"
    example = max(pairs, key=lambda pair: pair.similarity)
    said.append(
        f"{len(cluster_of)} images are near-duplicates of another, in {n_clusters} {word}, "
        f"for example {example.first} = {example.second}"
    )
    return said


MOST_ROWS = 5
"""Findings of one kind that the report tells; `tellapart check` has all."""


def check_rows(
    dataset: Dataset, fitted: Fitted | None = None, progress: Progress = SILENT
) -> list[dict[str, str]]:
    """Return what a look at the used images found besides copies: severity, kind and message of each.

    Parameters
    ----------
    fitted
        Its features, where it has some, tell outliers; and its probabilities out of sample, on which
        temperature and threshold were chosen, tell suspected labels. The labels of held-out test images are
        not looked at.
    """
    inspection = inspect(dataset, progress=progress)
    found = of_pictures(inspection, inspection.dataset.tied())
    if fitted is not None and fitted.features is not None:
        found += _of_features(dataset, fitted.features, fitted.choices)
    rows = []
    for kind, findings in by_kind(found).items():
        severity = findings[0].severity
        messages = [finding.message for finding in findings[:MOST_ROWS]]
        if len(findings) > MOST_ROWS:
            messages.append(f"… and {len(findings) - MOST_ROWS} more, which `tellapart check` lists")
        rows += [{"severity": severity, "kind": kind, "message": message} for message in messages]
    return rows


def _of_features(dataset: Dataset, features: Features, choices: Choices) -> list[Finding]:
    """Return outliers among all images, and what out-of-sample probabilities say of the labels of some."""
    found = outliers.findings(dataset, Neighbours(features.of(dataset)))
    if choices.seen is not None:
        place = {sample_id: row for row, sample_id in enumerate(choices.seen.sample_ids)}
        judged = dataset.subset(i for i, sample in enumerate(dataset.samples) if sample.id in place)
        y_prob = choices.seen.y_prob[[place[sample.id] for sample in judged.samples]]
        found += labels.findings(judged, y_prob, Neighbours(features.of(judged)))
    return found


def demographics(partitions: Sequence[Partition]) -> dict[str, dict[str, dict[str, int]]]:
    """Return column -> part -> value -> images, for metadata with few distinct values."""
    parts = {_PART_WORDS[name]: part for name, part in partitions[0].parts.items()}
    if len(partitions) > 1:
        whole = [one.test for one in partitions if one.test is not None]
        parts = {f"fold {i}": part for i, part in enumerate(whole, start=1)}
    columns = {key for part in parts.values() for sample in part.samples for key in sample.metadata}
    table = {}
    for column in sorted(columns - {FOLD}):
        counts = {
            name: Counter(banded(column, sample.metadata.get(column, "")) for sample in part.samples)
            for name, part in parts.items()
        }
        values = sorted({value for count in counts.values() for value in count})
        if 1 < len(values) <= MOST_VALUES:
            table[column] = {
                name: {value: count[value] for value in values} for name, count in counts.items()
            }
    return table


def data_facts(dataset: Dataset) -> dict[str, str]:
    """Return what is known of the images as text."""
    return {
        "source": dataset.root.resolve().name or str(dataset.root),
        "classes": ", ".join(f"{name} ({n})" for name, n in dataset.counts.items()),
        "fingerprint": dataset.fingerprint,
    }


def run_record(
    status: str,
    command: str,
    config: TrainConfig,
    details: Mapping[str, Any],
    dataset: Dataset,
) -> dict[str, Any]:
    """Return the content of ``run.json``."""
    return {
        "status": status,
        "command": command,
        "config": config.to_dict(),
        **details,
        "data": {
            "root": str(dataset.root.resolve()),
            "n_samples": len(dataset),
            "counts": dataset.counts,
            **_corrections(dataset),
            "ledger": [{"path": entry.path, "reason": entry.reason} for entry in dataset.ledger],
        },
    }


def _corrections(dataset: Dataset) -> dict[str, Any]:
    """Return what the label journal changed, and the hash of its last event, which pins it down."""
    now = dataset.corrections
    if now is None:
        return {}
    counts = {"relabelled": len(now.label), "excluded": len(now.excluded)}
    return {"corrections": {"journal": str(now.journal), "head": now.head, **counts}}
