"""The whole check of a dataset: one pass over the files, and everything that the layer can say about them."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tellapart.audit import balance, copies, labels, outliers, privacy, quality, shortcuts
from tellapart.audit.findings import SEVERITIES, Finding, Severity, by_kind, gravest_first
from tellapart.audit.inspection import Inspection, inspect
from tellapart.audit.neighbours import Neighbours
from tellapart.data import duplicates
from tellapart.data.dataset import Dataset
from tellapart.data.embedding import Network
from tellapart.progress import SILENT, Progress

JSON_VERSION = 1

MIN_TIED = 2
"""Independent images of a class without which its labels cannot be judged out of fold."""

WITHOUT_NETWORK = "label errors, outliers and the near-duplicates that only features bring together"
"""What is left out without evidence."""


class Evidence(Protocol):
    """What can judge labels: a frozen network, and classifiers on its features."""

    network: Network

    def out_of_fold(
        self, features: NDArray[np.float32], y: NDArray[np.int64], ties: Sequence[int], n_classes: int
    ) -> NDArray[np.float64]:
        """Return float64 of shape (n_samples, n_classes): each row from a model that did not see it."""
        ...


@dataclass(frozen=True, eq=False)
class Audit:
    """What a check found.

    Attributes
    ----------
    dataset
        What can be used, with content hashes; its ledger lists the rest.
    findings
        Errors first, then warnings, then notes.
    left_out
        What was not looked at, and why, in sentences.
    """

    dataset: Dataset
    findings: tuple[Finding, ...]
    left_out: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[Severity, int]:
        """Findings by severity."""
        number = Counter(finding.severity for finding in self.findings)
        return {severity: number[severity] for severity in SEVERITIES}

    @property
    def has_errors(self) -> bool:
        """Whether something makes figures wrong: leaks, unreadable files."""
        return self.counts["error"] > 0

    def by_kind(self) -> dict[str, list[Finding]]:
        """Return the findings of each kind, the kinds with the gravest first."""
        return by_kind(self.findings)

    def of_kind(self, kind: str) -> list[Finding]:
        """Return the findings of one kind, such as ``"suspected label"``, or none."""
        return self.by_kind().get(kind, [])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON can hold."""
        return {
            "version": JSON_VERSION,
            "data": str(self.dataset.root),
            "n_samples": len(self.dataset),
            "classes": self.dataset.counts,
            "counts": self.counts,
            "findings": [asdict(finding) for finding in self.findings],
            "left_out": list(self.left_out),
            "ledger": [asdict(entry) for entry in self.dataset.ledger],
        }

    def to_json(self) -> str:
        """Return everything as JSON text, ending in a line break."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    """Return a NumPy number or array, which `details` may hold, as Python's own."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} in a finding is not JSON")


def check(
    dataset: Dataset,
    evidence: Evidence | None = None,
    *,
    why_none: str = "",
    progress: Progress = SILENT,
) -> Audit:
    """Look at every image of a dataset and say what is wrong.

    Parameters
    ----------
    dataset
        Labelled images; a split that they come with is searched for leaks.
    evidence
        Judges labels and names outliers; None leaves these out.
    why_none
        Why there is no evidence, in a sentence, for `Audit.left_out`.
    """
    inspection = inspect(dataset, evidence.network if evidence else None, progress=progress)
    used = inspection.dataset
    found = [*_not_used(used), *_groups_on_two_sides(used)]
    left_out: list[str] = []
    if len(used):
        found += _of_images(inspection, evidence, left_out)
    if evidence is None:
        left_out.append(f"{WITHOUT_NETWORK}: {why_none or 'they need the features of a network'}")
    return Audit(used, tuple(gravest_first(found)), tuple(left_out))


def _of_images(inspection: Inspection, evidence: Evidence | None, left_out: list[str]) -> Iterable[Finding]:
    used, features = inspection.dataset, inspection.features
    near = duplicates.find_once(inspection.descriptors, embeddings=features)
    ties = used.tied(near=near)
    yield from copies.findings(used, near)
    if evidence is not None and features is not None:
        yield from _of_labels(used, features, ties, evidence, left_out)
        yield from outliers.findings(used, Neighbours(features))
    yield from of_pictures(inspection, ties)


def of_pictures(inspection: Inspection, ties: Sequence[int]) -> list[Finding]:
    """Return what single pictures, metadata and counts tell, without copies and labels: also for a report.

    `ties` holds one number per image; images that share one are not independent (see `Dataset.tied`).
    """
    used, looks = inspection.dataset, inspection.looks
    found = [
        *quality.findings(used, looks),
        *privacy.findings(used, looks),
        *shortcuts.findings(used, looks, ties),
        *balance.findings(used),
    ]
    return gravest_first(found)


def _of_labels(
    used: Dataset,
    features: NDArray[np.float32],
    ties: Sequence[int],
    evidence: Evidence,
    left_out: list[str],
) -> list[Finding]:
    """Judge the labels of the classes that have independent images enough."""
    judged = _judged_classes(used, ties)
    poor = [name for name in used.class_names if name not in judged and used.counts[name]]
    if poor:
        left_out.append(
            f"labels of {', '.join(poor)}: fewer than {MIN_TIED} independent images, so none can be judged "
            "by others"
        )
    if len(judged) < 2:
        left_out.append("label errors: there are no two classes to tell apart")
        return []
    chosen = [i for i, sample in enumerate(used.samples) if sample.label in judged]
    part = replace(used.subset(chosen), class_names=judged)
    y_prob = evidence.out_of_fold(
        features[chosen], part.targets, [ties[i] for i in chosen], len(part.class_names)
    )
    return labels.findings(part, y_prob, Neighbours(features[chosen]))


def _judged_classes(used: Dataset, ties: Sequence[int]) -> tuple[str, ...]:
    independent: dict[str, set[int]] = defaultdict(set)
    for sample, tie in zip(used.samples, ties, strict=True):
        independent[sample.label].add(tie)
    return tuple(name for name in used.class_names if len(independent[name]) >= MIN_TIED)


def _not_used(used: Dataset) -> list[Finding]:
    """Tell files that should be images and cannot be read from those that were left aside on purpose."""
    told = [
        Finding(
            "unreadable file",
            "error",
            f"{entry.path} cannot be read ({entry.reason}): replace it or delete it",
            (entry.path,),
            {"reason": entry.reason},
        )
        for entry in used.ledger
        if entry.unreadable
    ]
    left = [entry for entry in used.ledger if not entry.unreadable]
    if left:
        files = "1 file is" if len(left) == 1 else f"{len(left)} files are"
        told.append(
            Finding(
                "file not used",
                "note",
                f"{files} not used, first {left[0].path} ({left[0].reason})",
                tuple(entry.path for entry in left),
                {"reasons": {entry.path: entry.reason for entry in left}},
            )
        )
    return told


def _groups_on_two_sides(dataset: Dataset) -> list[Finding]:
    """Find groups (patients, lesions) on both sides of the split that the data come with."""
    members: dict[str, list[int]] = defaultdict(list)
    for i, sample in enumerate(dataset.samples):
        if sample.group is not None and sample.split is not None:
            members[sample.group].append(i)
    told = []
    for group, indices in sorted(members.items()):
        splits = {dataset.samples[i].id: dataset.samples[i].split for i in indices}
        if len(set(splits.values())) > 1:
            sides = " and ".join(sorted({str(split) for split in splits.values()}))
            told.append(
                Finding(
                    "group on two sides",
                    "error",
                    f"images of the group {group} are in {sides}: put all of them on one side, or deal a new "
                    "split with `tellapart split DATA --anew --out FILE`",
                    tuple(splits),
                    {"group": group, "splits": splits},
                )
            )
    return told
