"""Duplicates: clusters of images that show the same, and what to do about each."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tellapart.audit.copies import KINDS
from tellapart.audit.findings import Finding
from tellapart.data.label_events import YES, Change
from tellapart.errors import ConfigError
from tellapart.studio.dealing import SPLIT, Sides, sides_of
from tellapart.studio.labelling import Note, Wish, commit
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.query import Query

if TYPE_CHECKING:
    from tellapart.studio.catalog import Catalog
    from tellapart.studio.desk import Desk

LEFT = "left as it is"
"""The answer of a reviewer who wants nothing done about a cluster: no duplicates, or good to have."""

ACTIONS = ("keep", "label", "leave")

WORTH_A_LOOK = KINDS[:2]
"""Kinds that make figures wrong; copies of one label on one side of a split do no harm."""

MOST_CLUSTERS = 100

NOTHING = {
    True: (
        "No cluster is left to decide on",
        "Whatever you decided, the images that show the same are on one side of a split that is made anew.",
    ),
    False: (
        "No copies are known",
        "A check of the data finds identical files, near-duplicates, and which of them have different labels "
        "or lie on two sides of a split.",
    ),
}
"""What is said where there is no cluster: with a check of the data, and without one."""


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
    """Return the clusters: different labels first, then leaks, then mere copies; open ones unless `all`.

    Arguments besides: `kind`, `split` (the file's name), `start`, `count` (100 at most); ``total`` is how
    many there are to be had.
    """
    start = arguments.integer("start", 0)
    count = arguments.integer("count", 20, low=1, high=MOST_CLUSTERS)
    kind = arguments.one_of("kind", ("", *KINDS), "")
    desk.arrivals.take_in()
    desk.catalog.refresh()
    found = _clusters(desk.catalog)
    sides, left = sides_of(desk, arguments.text("split", SPLIT)), _left(desk)
    known = [cluster for cluster in found if kind in ("", *cluster.kinds)]
    is_open = [_is_open(desk.catalog, cluster, sides, left) for cluster in known]
    everything = arguments.flag("all", False)
    shown = [cluster for cluster, wanted in zip(known, is_open, strict=True) if wanted or everything]
    return {
        "total": len(shown),
        "open": sum(is_open),
        "nothing": NOTHING[desk.catalog.has_findings],
        "kinds": (kinds := {name: sum(name in cluster.kinds for cluster in found) for name in KINDS}),
        "choices": {"": "All kinds", **{name: f"{name} ({n:,})" for name, n in kinds.items()}},
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
        "decided": f"left as it is by {', '.join(left_by)}" if left_by else "" if is_open else "settled",
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


OPERATIONS: dict[str, Operation] = {
    "clusters": Operation(clusters),
    "resolve": Operation(resolve, writes=True),
}
