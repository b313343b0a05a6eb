"""The Dataset: immutable, ordered, labelled samples, and a ledger of what was left out and why."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.data import manifest, splits
from tellapart.data.corrections import Corrections, load_corrected
from tellapart.data.duplicates import DESCRIPTOR, Duplicates, NearPair, clusters_by_id, find_in
from tellapart.data.images import Resize, thumbnail
from tellapart.data.reader import hash_file, in_parallel, read
from tellapart.data.scan import Scan, scan_folder
from tellapart.data.survey import survey
from tellapart.errors import ConfigError, DataError, EmptyDataset, TooFewImages, UnreadableImage
from tellapart.progress import SILENT, Progress
from tellapart.records import Sample, Skipped, merge_map


@dataclass(frozen=True)
class Dataset:
    """Labelled images.

    Attributes
    ----------
    samples
        In order of their ids; the same order on every machine.
    class_names
        Sorted; `targets` index into it. Kept by subsets, so that a class may be empty there.
    ledger
        Files that were found and are not used, with the reason.
    root
        The folder that ids are relative to.
    near
        Pairs of near-duplicates, identical files left out; None where nobody has looked yet.
    near_alone
        Why they were looked for by pictures alone, without a network's features; empty where they were not.
    corrections
        What a label journal changed when this was loaded; None without a journal.
    """

    samples: tuple[Sample, ...]
    class_names: tuple[str, ...]
    ledger: tuple[Skipped, ...] = ()
    root: Path = Path()
    near: tuple[NearPair, ...] | None = None
    near_alone: str = ""
    corrections: Corrections | None = None

    @classmethod
    def load(cls, data: Path | str, *, journal: Path | str | None = None) -> "Dataset":
        """Read DATA, a folder or a manifest, with the corrections in its label journal, if it has one."""
        return load_corrected(data, journal)

    @classmethod
    def from_folder(cls, folder: Path | str) -> "Dataset":
        """Find the images of a folder with one sub-folder per class, or such folders under train/, test/.

        Raises
        ------
        EmptyDataset
            If no image is found.
        """
        return cls._from_scan(scan_folder(Path(folder)), Path(folder))

    @classmethod
    def from_manifest(cls, path: Path | str) -> "Dataset":
        """Read a CSV or Parquet manifest with columns ``path``, ``label``[, ``split``, ``group``, …].

        Raises
        ------
        ManifestError
            If the manifest, a column or a file is missing, or it contradicts itself.
        """
        return cls._from_scan(manifest.read_manifest(Path(path)), Path(path).parent)

    @classmethod
    def from_dataframe(cls, frame: Any, root: Path | str = ".") -> "Dataset":
        """Take a DataFrame with the columns of a manifest; paths are relative to `root`."""
        rows = frame.to_dict(orient="records")
        return cls._from_scan(manifest.samples_from_rows(rows, Path(root), "the DataFrame"), Path(root))

    @classmethod
    def _from_scan(cls, scan: Scan, root: Path) -> "Dataset":
        if not scan.samples:
            raise EmptyDataset(f"{root} holds no labelled image")
        class_names = tuple(sorted({sample.label for sample in scan.samples}))
        return cls(scan.samples, class_names, scan.skipped, root)

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """int64 of shape (n_samples,): indices into `class_names`."""
        index = {name: i for i, name in enumerate(self.class_names)}
        return np.array([index[sample.label] for sample in self.samples], dtype=np.int64)

    @property
    def counts(self) -> dict[str, int]:
        """Images per class, in the order of `class_names`."""
        numbers = np.bincount(self.targets, minlength=len(self.class_names))
        return dict(zip(self.class_names, numbers.tolist(), strict=True))

    @property
    def groups(self) -> tuple[str, ...] | None:
        """One group per sample (its own id where it has none), or None if no sample has a group."""
        if all(sample.group is None for sample in self.samples):
            return None
        return tuple(f"={s.id}" if s.group is None else s.group for s in self.samples)

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 over ids, labels and contents: equal for equal data, wherever it lies."""
        digest = hashlib.sha256()
        for sample in self.samples:
            digest.update(f"{sample.id}\0{sample.label}\0{hash_file(sample)}\n".encode())
        return digest.hexdigest()

    def subset(self, indices: Iterable[int]) -> "Dataset":
        """Return the samples at these positions, in the order of this dataset; the ledger stays behind."""
        chosen = tuple(self.samples[i] for i in sorted(int(i) for i in indices))
        return replace(self, samples=chosen, ledger=())

    def where_split(self, split: str) -> "Dataset":
        """Return the samples whose `split` is ``"train"``, ``"val"`` or ``"test"``."""
        return self.subset(i for i, sample in enumerate(self.samples) if sample.split == split)

    def without(self, bad: Mapping[str, str], *, unreadable: bool = False) -> "Dataset":
        """Move samples (by id, with the reason) into the ledger, as what cannot be read if that is so."""
        moved = tuple(Skipped(s.id, bad[s.id], unreadable) for s in self.samples if s.id in bad)
        kept = tuple(sample for sample in self.samples if sample.id not in bad)
        return replace(self, samples=kept, ledger=self.ledger + moved)

    def grouped_by(self, column: str) -> "Dataset":
        """Return the dataset with `group` taken from a metadata column.

        A sample without a value there keeps the group that it has.

        Raises
        ------
        DataError
            If no sample has such a column.
        """
        if column == "group" and self.groups is not None:
            return self
        if not any(column in sample.metadata for sample in self.samples):
            columns = sorted({key for sample in self.samples for key in sample.metadata})
            found = ", ".join(columns) if columns else "none: a folder has no metadata, a manifest may"
            raise DataError(f"no metadata column {column!r} to group by (columns: {found})")
        samples = tuple(replace(s, group=s.metadata.get(column) or s.group) for s in self.samples)
        return replace(self, samples=samples)

    def merged(self, classes: Mapping[str, Sequence[str]]) -> "Dataset":
        """Return the dataset with classes joined: new name -> old names; others keep theirs.

        Raises
        ------
        DataError
            If an old name is not a class, or is given twice.
        """
        new_of = merge_map(classes, self.class_names)
        samples = tuple(replace(s, label=new_of[s.label]) for s in self.samples)
        return replace(self, samples=samples, class_names=tuple(sorted(set(new_of.values()))))

    def with_hashes(self, *, progress: Progress = SILENT) -> "Dataset":
        """Return the dataset with the content hash of every file."""
        if all(sample.sha256 is not None for sample in self.samples):
            return self
        with progress.track("reading", len(self)) as advance:
            hashed = []
            for sample, digest in zip(self.samples, in_parallel(hash_file, self.samples), strict=True):
                hashed.append(replace(sample, sha256=digest))
                advance(1)
        return replace(self, samples=tuple(hashed))

    def verified(self, *, progress: Progress = SILENT) -> "Dataset":
        """Return the dataset hashed, with every file that cannot be decoded moved to the ledger.

        Contents once found good are remembered, so that the next run need not decode them again.
        """
        hashed = self.with_hashes(progress=progress)
        return survey(hashed, (DESCRIPTOR,), stage="checking", progress=progress).dataset

    def near_duplicates(self, *, progress: Progress = SILENT) -> Duplicates:
        """Return which images are near-duplicates, by their positions; see `tellapart.data.duplicates.find`.

        What is compared of a content is remembered, and so is what was found. Identical files are pairs
        too; a file that cannot be read is in none.
        """
        return find_in(self, progress=progress)[0]

    def with_near_duplicates(self, *, progress: Progress = SILENT) -> "Dataset":
        """Return the dataset hashed and with its `near` filled in; its subsets keep them.

        They are those that `check` tells: found by pictures and by features of the default network, where
        that can be had.
        """
        if self.near is not None:
            return self
        hashed = self.with_hashes(progress=progress)
        found, alone = find_in(hashed, progress=progress)
        near = [
            NearPair(hashed.samples[i].id, hashed.samples[j].id, round(float(value), 4))
            for (i, j), value in zip(found.pairs.tolist(), found.similarity, strict=True)
            if hashed.samples[i].sha256 != hashed.samples[j].sha256
        ]
        return replace(hashed, near=tuple(near), near_alone=alone)

    def check_trainable(self, minimum: int, kind: str = "usable") -> None:
        """Raise unless there are two classes, and of each class `minimum` images, called `kind` in messages.

        Raises
        ------
        TooFewImages
            Naming the class and its number of images.
        """
        present = {name: n for name, n in self.counts.items() if n}
        if len(present) < 2:
            only = ", ".join(present) or "none"
            raise TooFewImages(f"a classifier needs at least two classes with {kind} images; found: {only}")
        for name, n in self.counts.items():
            if n < minimum:
                raise TooFewImages(
                    f"class {name!r} has {n} {kind} images, at least {minimum} are needed; "
                    "add images, or leave the class out"
                )

    def label_conflicts(self) -> list[tuple[str, ...]]:
        """Return the ids of identical files that have different labels, one tuple per content."""
        by_content: dict[str, list[Sample]] = defaultdict(list)
        for sample in self.with_hashes().samples:
            by_content[sample.sha256 or sample.id].append(sample)
        return [tuple(s.id for s in same) for same in by_content.values() if len({s.label for s in same}) > 1]

    def n_duplicates(self) -> int:
        """Return how many files are byte-for-byte copies of another one."""
        counts = Counter(sample.sha256 for sample in self.with_hashes().samples)
        return sum(n - 1 for digest, n in counts.items() if digest)

    def tied(self, near: Duplicates | None = None) -> list[int]:
        """Return one number per sample; samples of a group, identical files and near-duplicates share it.

        Near-duplicates are those of the attribute `near`, and those of an argument if there is one: of this
        dataset's images, in its order.
        """
        hashed = self.with_hashes().samples
        return splits.join_groups(
            [s.group for s in hashed],
            [s.sha256 or None for s in hashed],
            [self._near_cluster.get(s.id) for s in hashed],
            [None] * len(hashed) if near is None else near.cluster_of.tolist(),
        )

    @cached_property
    def _near_cluster(self) -> dict[str, str]:
        return clusters_by_id(self.near or ())

    def split(
        self,
        test_size: float = 0.2,
        *,
        stratify: bool = True,
        group_by: str | None = None,
        near_duplicates: bool = True,
        seed: int = 0,
    ) -> tuple["Dataset", "Dataset"]:
        """Split into two datasets so that no group, no identical file and no near-duplicate is in both.

        Parameters
        ----------
        test_size
            Part of the images that goes into the second dataset, in (0, 1).
        stratify
            Keep the classes' shares as equal as the groups allow.
        group_by
            Metadata column whose values must stay on one side; None keeps samples' own groups together.
        near_duplicates
            Look for near-duplicates first, unless `near` is known; False looks for none.
        seed
            Decides among equals.

        Returns
        -------
        train, test

        Raises
        ------
        ConfigError
            If `test_size` is not in (0, 1).
        TooFewImages
            If a class has too few independent images for two parts.
        """
        if not 0 < test_size < 1:
            raise ConfigError(f"test_size is {test_size!r}; it must be a part between 0 and 1")
        dataset = self.grouped_by(group_by) if group_by else self
        if near_duplicates:
            dataset = dataset.with_near_duplicates()
        parts = dataset.deal([1 - test_size, test_size], stratify=stratify, seed=seed)
        return dataset._part(parts == 0, "train"), dataset._part(parts == 1, "test")

    def _part(self, chosen: NDArray[np.bool_], split: str) -> "Dataset":
        # Marked, so that training on the first part knows that a test set has been put aside.
        part = self.subset(np.flatnonzero(chosen))
        return replace(part, samples=tuple(replace(sample, split=split) for sample in part.samples))

    def deal(
        self, proportions: Sequence[float], *, stratify: bool = True, seed: int = 0
    ) -> NDArray[np.int64]:
        """Return the part of each sample; see `tellapart.data.splits.deal`."""
        try:
            return splits.deal(self.targets, self.tied(), proportions, seed=seed, stratify=stratify)
        except splits.RareClass as exc:
            name = self.class_names[exc.class_index]
            joined = any(s.label == name and s.id in self._near_cluster for s in self.samples)
            other = ", or part near-duplicates with --no-near-duplicates" if joined else ""
            raise TooFewImages(
                f"class {name!r} has {exc.n_groups} independent images or groups, "
                f"but {len(proportions)} parts each need one; add images, or leave the class out{other}"
            ) from exc

    def pixels(self, resize: Resize) -> NDArray[np.uint8]:
        """Return all images decoded and resized: uint8 of shape (n_samples, size, size, 3), RGB.

        Raises
        ------
        DataError
            Naming a file that cannot be decoded any more.
        """
        pixels = np.empty((len(self), resize.size, resize.size, 3), dtype=np.uint8)
        for index, result in enumerate(in_parallel(lambda sample: read(sample, resize), self.samples)):
            if result.pixels is None:
                raise DataError(f"{result.sample.path} can no longer be read: {result.reason}")
            pixels[index] = result.pixels
        return pixels

    def thumbnail(self, sample_id: str, edge_px: int = 192) -> bytes | None:
        """Return a small JPEG of one sample, or None if it is not here or cannot be read."""
        sample = self._by_id.get(sample_id)
        if sample is None:
            return None
        try:
            return thumbnail(sample.path, edge_px)
        except UnreadableImage:
            return None

    @cached_property
    def _by_id(self) -> dict[str, Sample]:
        return {sample.id: sample for sample in self.samples}

    def augment(
        self, pipelines: Sequence[Callable[..., Any]], copies: int, out: Path | str, *, seed: int = 0
    ) -> "Dataset":
        """Write augmented copies and return the dataset with them; see `tellapart.data.augment`."""
        from tellapart.data.augment import augment

        return augment(self, pipelines, copies, Path(out), seed=seed)
