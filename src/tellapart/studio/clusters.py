"""Duplicates: clusters of images that show the same, what to do about each, and a split that parts none."""

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tellapart.audit.copies import KINDS
from tellapart.audit.findings import Finding
from tellapart.data.label_events import YES, Change
from tellapart.errors import ConfigError
from tellapart.studio.labelling import Note, Wish, commit
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.query import Query

if TYPE_CHECKING:
    from tellapart.studio.catalog import Catalog
    from tellapart.studio.desk import Desk

SPLIT = "split.csv"
"""Name of the split that the studio makes, in the folder of runs."""

LEFT = "left as it is"
"""The answer of a reviewer who wants nothing done about a cluster: no duplicates, or good to have."""

ACTIONS = ("keep", "label", "leave")

WORTH_A_LOOK = KINDS[:2]
"""Kinds that make figures wrong; copies of one label on one side of a split do no harm."""

MOST_CLUSTERS = 100

Sides = Callable[[int], str | None]
"""Gives an image's part of the split, or None where it is in none."""


@dataclass(frozen=True)
class Cluster:
    """Images that show the same.

    Attributes
    ----------
    images
        Their numbers, in order.
    findings
        What the audit says of them; one or two.
    """

    images: tuple[int, ...]
    findings: tuple[Finding, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the findings, the gravest first."""
        return tuple(finding.kind for finding in self.findings)

    def name(self, catalog: "Catalog") -> str:
        """Return by what the journal knows it."""
        ids = [catalog.given.samples[i].id for i in self.images]
        mark = hashlib.sha256("\0".join(ids).encode("utf-8", "surrogateescape")).hexdigest()[:12]
        return f"{ids[0]} and {len(ids) - 1} like it ({mark})"


def clusters(desk: "Desk", arguments: Arguments) -> Json:
    """Return the clusters: different labels first, then leaks, then mere copies; open ones unless `all`."""
    start = arguments.integer("start", 0)
    count = arguments.integer("count", 20, low=1, high=MOST_CLUSTERS)
    kind = arguments.one_of("kind", ("", *KINDS), "")
    desk.catalog.refresh()
    found = _clusters(desk.catalog)
    sides, left = _sides(desk, arguments.text("split", SPLIT)), _left(desk)
    known = [cluster for cluster in found if kind in ("", *cluster.kinds)]
    is_open = [_is_open(desk.catalog, cluster, sides, left) for cluster in known]
    everything = arguments.flag("all", False)
    shown = [cluster for cluster, wanted in zip(known, is_open, strict=True) if wanted or everything]
    return {
        "total": len(shown),
        "open": sum(is_open),
        "kinds": {name: sum(name in cluster.kinds for cluster in found) for name in KINDS},
        "clusters": [_row(desk.catalog, cluster, sides, left) for cluster in shown[start : start + count]],
    }


def resolve(desk: "Desk", arguments: Arguments) -> Json:
    """Decide on one cluster, as one batch.

    `action` ``"keep"`` excludes all `images` but the one whose number is `keep`; ``"label"`` gives each of
    them `label`; ``"leave"`` notes that nothing is to be done. `seen` holds what the page saw of each:
    whether it is excluded (`YES` or nothing), or its label.
    """
    numbers, action = tuple(arguments.integers("images")), arguments.one_of("action", ACTIONS)
    cluster = next((one for one in _clusters(desk.catalog) if one.images == numbers), None)
    if cluster is None:
        raise ConfigError("these images are no cluster of the last check; load the page again")
    note = Note.read(arguments, "cluster")
    if action == "leave":
        change = Change(cluster.name(desk.catalog), "review", "", LEFT, why=note.why)
        [event] = desk.journal.write([change], actor=desk.actor, source=note.source, session=note.window)
        desk.catalog.refresh()
        return {"batch": event.batch, "version": desk.catalog.version, "n": 0, "items": []}
    seen = arguments.texts("seen")
    if len(seen) != len(numbers):
        raise ConfigError(f"{len(numbers)} images, but {len(seen)} values seen; give one for each")
    if action == "label":
        label = arguments.text("label")
        return commit(desk, [Wish(i, "label", s, label) for i, s in zip(numbers, seen, strict=True)], note)
    keep = arguments.integer("keep")
    if keep not in numbers:
        raise ConfigError(f"image number {keep}, which is to be kept, is not in the cluster")
    wishes = [Wish(i, "excluded", s, "" if i == keep else YES) for i, s in zip(numbers, seen, strict=True)]
    return commit(desk, wishes, note)


def split(desk: "Desk", arguments: Arguments) -> Json:
    """Deal the images anew, with the corrections in force, so that no copy is on two sides; write the file.

    A split that the data come with gives the parts' sizes, and is not used otherwise. Looks at every image,
    unless a check or a training has done so before.
    """
    from tellapart.training import account
    from tellapart.training.config import TrainConfig
    from tellapart.training.partition import deal, kept_apart, leaks, straddling, write_split

    path = desk.runs / _file_name(arguments.text("name", SPLIT))
    current = desk.catalog.current().verified().with_near_duplicates()
    n_given = {name: len(current.where_split(name)) for name in ("train", "val", "test")}
    n, n_rest = sum(n_given.values()), n_given["train"] + n_given["val"]
    default = n_given["test"] / n if n_given["test"] else 0.2
    config = TrainConfig(
        test_size=arguments.number("test_size", default, low=0, high=1),
        val_size=n_given["val"] / n_rest if n_given["val"] else TrainConfig().val_size,
        folds=arguments.integer("folds", low=2) if arguments.has("folds") else None,
        seed=arguments.integer("seed", 0),
    )
    before = straddling([current.where_split(name) for name in n_given]) if n else {}
    fresh = replace(current, samples=tuple(replace(sample, split=None) for sample in current.samples))
    partitions = deal(fresh, config, needs_val=bool(n_given["val"]) and not config.folds)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_split(path, partitions)
    return {
        "path": str(path),
        "rows": account.partition_rows(partitions),
        "class_names": list(current.class_names),
        "joined": {kind: [list(pair) for pair in pairs[:MOST_CLUSTERS]] for kind, pairs in before.items()},
        "n_joined": {kind: len(pairs) for kind, pairs in before.items()},
        "kept_together": len(fresh) - len(set(fresh.tied())),
        "leaks": list(leaks(kept_apart(partitions)).values()),
        "n_excluded": len(desk.given) - len(current),
    }


def _clusters(catalog: "Catalog") -> list[Cluster]:
    """Return every cluster that the audit found, in the order in which it tells them."""
    by_images: dict[tuple[int, ...], list[Finding]] = {}
    for kind in KINDS:
        told: set[int] = set()
        for i in catalog.select(Query(finding=(kind,))).tolist():
            for finding in catalog.findings(i):
                if finding.kind == kind and id(finding) not in told:
                    told.add(id(finding))
                    numbers = (catalog.index(sample_id) for sample_id in finding.sample_ids)
                    here = tuple(sorted(number for number in numbers if number is not None))
                    by_images.setdefault(here, []).append(finding)
    return [Cluster(images, tuple(found)) for images, found in by_images.items() if len(images) > 1]


def _apart(catalog: "Catalog", cluster: Cluster, sides: Sides) -> list[str]:
    """Return what is wrong with a cluster as things stand now: of `WORTH_A_LOOK`, those that hold."""
    used = [i for i in cluster.images if not catalog.is_excluded(i)]
    labels = {catalog.label(i) for i in used}
    parts = {side for i in used if (side := sides(i))}
    return [kind for kind, values in zip(WORTH_A_LOOK, (labels, parts), strict=True) if len(values) > 1]


def _is_open(catalog: "Catalog", cluster: Cluster, sides: Sides, left: Mapping[str, Sequence[str]]) -> bool:
    """Return whether something is to be decided on: copies that do no harm may be kept, or left."""
    if left and cluster.name(catalog) in left:
        return False
    harmless = not set(cluster.kinds) & set(WORTH_A_LOOK)
    several = sum(not catalog.is_excluded(i) for i in cluster.images) > 1
    return bool(_apart(catalog, cluster, sides)) or (harmless and several)


def _row(catalog: "Catalog", cluster: Cluster, sides: Sides, left: Mapping[str, Sequence[str]]) -> Json:
    left_by = list(left.get(cluster.name(catalog), ()))
    is_open = _is_open(catalog, cluster, sides, left)
    return {
        "kinds": cluster.kinds,
        "now": _apart(catalog, cluster, sides),
        "message": cluster.findings[0].message,
        "state": "left" if left_by else "open" if is_open else "settled",
        "left_by": left_by,
        "images": [{**catalog.item(i), "side": sides(i)} for i in cluster.images],
        "pairs": [
            [i, j, similarity]
            for a, b, similarity in cluster.findings[0].details.get("pairs", ())
            if (i := catalog.index(a)) is not None and (j := catalog.index(b)) is not None
        ],
    }


def _left(desk: "Desk") -> dict[str, list[str]]:
    """Return name of a cluster -> who wants it left as it is."""
    found: dict[str, list[str]] = {}
    for actor, answers in desk.journal.verdicts().items():
        for name, answer in answers.items():
            if answer == LEFT:
                found.setdefault(name, []).append(actor)
    return found


def _sides(desk: "Desk", name: str) -> Sides:
    """Return what gives an image's part: the studio's split, if one was made, else what the data say."""
    path, samples = desk.runs / _file_name(name), desk.given.samples
    if path.is_file():
        dealt = _read_split(path, path.stat().st_mtime_ns)
        return lambda i: dealt.get(samples[i].id)
    return lambda i: samples[i].split


@lru_cache(maxsize=2)
def _read_split(path: Path, written: int) -> Mapping[str, str]:
    """Return image id -> part or fold; `written` makes a changed file be read anew."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["split"] or row["fold"] for row in csv.DictReader(file)}


def _file_name(name: str) -> str:
    if Path(name).name != name or not name.endswith(".csv") or name.startswith("."):
        raise ConfigError(f"{name!r} is no name for a split; accepted: a file's name such as {SPLIT}")
    return name


OPERATIONS: dict[str, Operation] = {
    "clusters": Operation(clusters),
    "resolve": Operation(resolve, writes=True),
    "split": Operation(split, writes=True),
}
