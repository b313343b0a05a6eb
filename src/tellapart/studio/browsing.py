"""The grid's questions: which images, how many of what, and all about one."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PIL import Image

from tellapart.data.images import ACCEPTED_FORMATS, decode
from tellapart.data.label_events import Event
from tellapart.errors import ConfigError, UnreadableImage
from tellapart.studio.attached import SUSPECT
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.pages import views
from tellapart.studio.query import FACETS, MARKS, SORTS, TITLES, Query
from tellapart.studio.recipe import choices
from tellapart.studio.shortcuts import actions
from tellapart.studio.wording import moved

if TYPE_CHECKING:
    from pathlib import Path

    from tellapart.studio.desk import Desk

MOST_ITEMS = 500
"""Images that one answer tells of."""


def overview(desk: "Desk", arguments: Arguments) -> Json:
    """Tell what is open: what a page needs to know before it shows anything.

    Returns
    -------
    dict
        ``n``; ``class_names``, those of the data first, then those that corrections brought, so that the
        numbers of the keys stay; ``counts`` by class; ``actor``, ``read_only``, ``data``, ``run``,
        ``has_predictions``, ``has_findings``, ``splits``, ``version``, ``keys`` (action -> key, and what it
        does), ``views``, ``training`` (what a training can be told);
        ``facets``, ``marks`` and ``sorts``, as a page calls them.
    """
    desk.arrivals.take_in()
    catalog = desk.catalog
    catalog.refresh()
    attached = catalog.predictions
    given = desk.given.class_names
    return {
        "n": len(catalog),
        "class_names": [*given, *(name for name in catalog.class_names if name not in given)],
        "counts": catalog.counts(),
        "actor": desk.actor,
        "read_only": desk.read_only,
        "data": str(desk.data),
        "run": attached.name if attached else None,
        "has_predictions": attached is not None,
        "has_findings": catalog.has_findings,
        "splits": catalog.splits,
        "version": catalog.version,
        "keys": actions(desk.keys),
        "views": views(),
        "training": choices(),
        "facets": FACETS,
        "sorts": SORTS,
    }


def items(desk: "Desk", arguments: Arguments) -> Json:
    """Tell of some images of a query's list.

    Arguments are those of `Query`, and ``start``, ``count``; ``list``, as an earlier answer gave it, to go
    on in the same list whatever was relabelled since; ``find``, an image: if it is in the list, the answer
    is about the page of ``count`` images that it is on.

    Returns
    -------
    dict
        ``total``, ``version``, ``list``, ``start``, ``items``; ``position`` of the image looked for, or None.
    """
    query = _query(desk, arguments)
    start = arguments.integer("start", 0)
    count = arguments.integer("count", 100, low=1, high=MOST_ITEMS)
    stamp, order = desk.lists.open(query, arguments.text("list", ""))
    position = None
    if arguments.has("find"):
        places = (order == arguments.integer("find")).nonzero()[0]
        if len(places):
            position = int(places[0])
            start = position - position % count
    return {
        "total": len(order),
        "version": desk.catalog.version,
        "list": stamp,
        "start": start,
        "items": [desk.catalog.item(i, query.run) for i in order[start : start + count].tolist()],
        "position": position,
    }


def facets(desk: "Desk", arguments: Arguments) -> Json:
    """Tell how many images there are of what: ``counts``, see `Catalog.facets`, and what a page lists.

    Returns
    -------
    dict
        ``counts``, and ``groups``: each with ``key``, ``title`` and ``rows`` of facet, value, how it is
        called, how many images have it, and whether the query asks for it. What tells nothing apart is left
        out.
    """
    query = _query(desk, arguments)
    counts = desk.catalog.facets(query)
    groups = [_group(name, counts[name], getattr(query, name)) for name in TITLES]
    marks = [
        (name, value, text, counts[name].get(value, 0), value in getattr(query, name))
        for name, value, text in MARKS
        if counts[name].get("yes") or getattr(query, name)
    ]
    groups.append({"key": "marks", "title": "Decisions", "rows": marks})
    return {"counts": counts, "groups": [group for group in groups if group["rows"]]}


def _group(facet: str, counts: Mapping[str, int], wanted: Sequence[str]) -> Json:
    """Return a facet's values as a page lists them: classes by name, others with the most images first."""
    values = sorted(counts.items(), key=lambda item: 0 if facet == "label" else -item[1])
    tells = facet == "label" or wanted or len(values) > (facet not in ("finding", "by"))
    rows = [
        (facet, name, "in no part" if (facet, name) == ("split", "none") else name, n, name in wanted)
        for name, n in values
        if tells
    ]
    return {"key": facet, "title": TITLES[facet], "rows": rows}


def positions(desk: "Desk", arguments: Arguments) -> Json:
    """Tell which images stand in a range of a query's list, ``first`` and ``last`` included.

    Arguments besides: ``list``, as `items` gave it. Where that list is no longer known nothing is told, for
    in any other one the same places are those of other images: the page gets the status of a conflict, 409,
    without ``clashes``, and has to ask `items` anew.

    Returns
    -------
    dict
        ``items``, their numbers; ``label``, one each; ``excluded`` and ``flagged``, the numbers of those
        that are: what somebody sees who then changes all of them.

    Raises
    ------
    StaleList
        If the list is no longer known.
    """
    order = desk.lists.known(_query(desk, arguments), arguments.text("list"))
    first = arguments.integer("first", 0)
    last = arguments.integer("last", max(len(order) - 1, 0))
    chosen = order[first : last + 1].tolist()
    catalog = desk.catalog
    return {
        "items": chosen,
        "label": [catalog.label(i) for i in chosen],
        "excluded": [i for i in chosen if catalog.is_excluded(i)],
        "flagged": [i for i in chosen if catalog.is_flagged(i)],
    }


def item(desk: "Desk", arguments: Arguments) -> Json:
    """Tell all about image ``i``; ``run`` names the run whose predictions are meant.

    Returns
    -------
    dict
        What `items` tells, and ``path``, ``group``, ``metadata``, ``file`` (see `_file`),
        ``probabilities`` by class with ``probabilities_by``, who says so; ``findings`` with their
        messages, ``kinds`` of them, and ``history``, the latest event first.
    """
    i = arguments.integer("i", high=len(desk.catalog) - 1)
    run = _query(desk, arguments).run
    desk.catalog.refresh()
    sample = desk.given.samples[i]
    told = desk.catalog.item(i, run)
    probabilities, by = _probabilities(desk, i, run)
    found = desk.catalog.findings(i)
    events = desk.journal.events(sample_id=sample.id)
    return told | {
        "path": str(sample.path),
        "group": sample.group,
        "metadata": dict(sample.metadata),
        "file": _file(sample.path),
        "probabilities": probabilities,
        "probabilities_by": by,
        "kinds": told["findings"],
        "findings": [{"kind": f.kind, "severity": f.severity, "message": f.message} for f in found],
        "history": [_event(event) for event in reversed(events)],
    }


def _query(desk: "Desk", arguments: Arguments) -> Query:
    """Read a query, and lay the predictions of the run that it names beside the images."""
    query = Query.read(arguments)
    if query.run and desk.catalog.run(query.run) is None:
        run = desk.shelf.run(query.run)
        if run.predictions is None or run.y_pred is None:
            raise ConfigError(f"the run {query.run!r} has no predictions of a test set")
        desk.catalog.attach(run.name, run.predictions, run.y_pred, shown=False)
    return query


def _probabilities(desk: "Desk", i: int, run: str) -> tuple[dict[str, float] | None, str | None]:
    """Return probabilities by class and who says so: a run, else the audit where it doubts the label."""
    attached = desk.catalog.run(run)
    if attached is not None and (told := attached.at(i)) is not None:
        names = attached.predictions.class_names
        return dict(zip(names, told.y_prob.round(4).tolist(), strict=True)), attached.name
    for finding in desk.catalog.findings(i):
        if finding.kind == SUSPECT and "probability" in finding.details:
            return dict(finding.details["probability"]), "check"
    return None, None


def _file(path: "Path") -> Json:
    """Return ``width``, ``height`` (upright), ``bytes``, ``format``, and all that in words in ``says``.

    Where it is no picture, ``problem`` tells.
    """
    told: Json = {"width": None, "height": None, "bytes": None, "format": None, "says": "", "problem": None}
    try:
        told["bytes"] = path.stat().st_size
        with Image.open(path, formats=ACCEPTED_FORMATS) as image:
            width, height = image.size
            if image.getexif().get(0x0112, 1) in (5, 6, 7, 8):
                width, height = height, width
            told |= {"width": width, "height": height, "format": image.format}
            size = f"{width:,} × {height:,} px, {math.ceil(told['bytes'] / 1000):,} kB"
            told["says"] = f"{size}, {image.format}"
    except Exception:  # Pillow raises whatever it stumbles over; `decode` says it in our words
        told["problem"] = _problem(path)
    return told


def _problem(path: "Path") -> str:
    try:
        decode(path)
    except UnreadableImage as exc:
        return str(exc)
    return "its header is damaged"


def _event(event: Event) -> Json:
    kept = ("seq", "batch", "at", "actor", "field", "old", "new", "source", "undoes", "why")
    told = {name: getattr(event, name) for name in kept}
    return {**told, "says": moved(event.field, event.old, event.new)}


OPERATIONS: dict[str, Operation] = {
    "overview": Operation(overview),
    "items": Operation(items),
    "facets": Operation(facets),
    "positions": Operation(positions),
    "item": Operation(item),
}
