"""Copies among the images: identical files and near-duplicates, and what is wrong with them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tellapart.audit.findings import Finding, Severity
from tellapart.data.dataset import Dataset
from tellapart.data.duplicates import Duplicates
from tellapart.data.splits import connected
from tellapart.records import Sample

KINDS = ("conflicting labels", "leak", "identical files", "near-duplicates")
"""In the order in which they are told."""

MOST_NAMED = 3
"""Images that a message names; all are in `Finding.sample_ids`."""

Pair = tuple[str, str, float]


def findings(dataset: Dataset, duplicates: Duplicates) -> list[Finding]:
    """Say which images are copies of one another.

    One finding per cluster, in this order of kinds: ``"conflicting labels"`` (a warning), ``"leak"`` (an
    error: the cluster lies on two sides of the split that the data come with), ``"identical files"`` and
    ``"near-duplicates"`` (notes; whoever deals the images by `Dataset.split` has them on one side). A cluster
    may be told under both of the first two kinds.

    Parameters
    ----------
    dataset
        Identical files are recognised by its content hashes.
    duplicates
        Of this dataset's images, in its order, as `tellapart.data.duplicates.find` gives them.

    Returns
    -------
    list of Finding
        `details` holds ``"pairs"`` (lists of two ids and their similarity, the most similar first),
        and ``"labels"`` or ``"splits"`` by sample id.
    """
    found: list[Finding] = []
    for members, pairs in _clusters(dataset.with_hashes(), duplicates):
        cluster = _Cluster(members, pairs)
        labels = {sample.id: sample.label for sample in members}
        splits = {sample.id: sample.split for sample in members if sample.split}
        conflict, leak = len(set(labels.values())) > 1, len(set(splits.values())) > 1
        if conflict:
            found.append(cluster.conflict(labels))
        if leak:
            found.append(cluster.leak(splits))
        if not (conflict or leak):
            found.append(cluster.copies())
    return sorted(found, key=lambda finding: KINDS.index(finding.kind))


@dataclass(frozen=True)
class _Cluster:
    """Images that show the same, and their pairs."""

    members: Sequence[Sample]
    pairs: Sequence[Pair]

    @property
    def kind(self) -> str:
        return "identical files" if len({s.sha256 for s in self.members}) == 1 else "near-duplicates"

    @property
    def named(self) -> str:
        """What they are and which, as the start of a sentence."""
        shown = ", ".join(sample.id for sample in self.members[:MOST_NAMED])
        more = len(self.members) - MOST_NAMED
        return f"{len(self.members)} {self.kind} ({shown}{f' and {more} more' if more > 0 else ''})"

    def conflict(self, labels: Mapping[str, str]) -> Finding:
        names = ", ".join(sorted(set(labels.values())))
        message = f"{self.named} have different labels: {names}. Look at them and correct the wrong ones."
        return self._finding("conflicting labels", "warning", message, labels=dict(labels))

    def leak(self, splits: Mapping[str, str]) -> Finding:
        names = ", ".join(sorted(set(splits.values())))
        message = (
            f"{self.named} lie on several sides of the split: {names}. Keep them on one, or deal a new split "
            "with `tellapart split DATA --anew --out FILE`."
        )
        return self._finding("leak", "error", message, splits=dict(splits))

    def copies(self) -> Finding:
        message = f"{self.named} are kept on one side of a split. Keep one of them if they add nothing."
        return self._finding(self.kind, "note", message)

    def _finding(self, kind: str, severity: Severity, message: str, **details: Mapping[str, str]) -> Finding:
        ids = tuple(sample.id for sample in self.members)
        return Finding(
            kind, severity, message, ids, {"pairs": [list(pair) for pair in self.pairs], **details}
        )


def _clusters(hashed: Dataset, duplicates: Duplicates) -> Iterator[tuple[list[Sample], list[Pair]]]:
    """Yield the images of each cluster in their order, and its pairs, the most similar first."""
    samples = hashed.samples
    similarity = {
        (i, j): float(value)
        for (i, j), value in zip(duplicates.pairs.tolist(), duplicates.similarity, strict=True)
    }
    first: dict[str, int] = {}
    for j, sample in enumerate(samples):
        i = first.setdefault(sample.sha256 or sample.id, j)
        if i != j:  # a picture that shows nothing is in no pair, however often its file is there
            similarity[i, j] = 1.0
    leader = connected(np.array(list(similarity), np.int64).reshape(-1, 2), len(samples)).tolist()
    members: dict[int, set[int]] = defaultdict(set)
    pairs: dict[int, list[Pair]] = defaultdict(list)
    for (i, j), value in sorted(similarity.items(), key=lambda item: (-item[1], item[0])):
        members[leader[i]] |= {i, j}
        pairs[leader[i]].append((samples[i].id, samples[j].id, round(value, 4)))
    for cluster in sorted(members):
        yield [samples[i] for i in sorted(members[cluster])], pairs[cluster]
