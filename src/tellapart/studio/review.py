"""The review: the queue of images in doubt, all that is known about one, and deciding on it."""

from typing import TYPE_CHECKING

from tellapart.audit.findings import Finding
from tellapart.data.label_events import YES
from tellapart.studio.doubts import DISAGREEMENT, REASONS, SUSPECTED, Doubt, doubts, suggested, suspicion
from tellapart.studio.labelling import Note, Wish, check_numbers, commit
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.verdicts import ADJUDICATION, EXCLUDED

if TYPE_CHECKING:
    from tellapart.studio.catalog import Catalog
    from tellapart.studio.desk import Desk

N_LATEST = 50
"""Answers of which is told how many found an error."""

SOURCES = ("review", "suggestion", ADJUDICATION)

NO_DOUBT = "No label is suspected, and no test image is seen otherwise."
NOTHING_KNOWN = "Images are put in doubt by a check of the data, or by a run that was tested on some of them."
NO_FEATURES = (
    "what is alike is not known: the cache of this machine holds no features of this image; the check of the "
    "data computes them"
)


def queue(desk: "Desk", arguments: Arguments) -> Json:
    """Return the images worth a second look; see `tellapart.studio.doubts.doubts` for their order.

    The order does not change while they are worked through: those that are answered stay, and are not among
    ``open``. It does when a check or a training has come to its end: then ``has_findings``, or ``run``, the
    run that disagreements are with, may be another, too.
    """
    reason = arguments.one_of("reason", ("", *REASONS), "")
    desk.arrivals.take_in()
    desk.catalog.refresh()
    desk.verdicts.refresh()
    found = doubts(desk.catalog)
    shown = [doubt for doubt in found if reason in ("", doubt.reason)]
    seen_by_others = desk.verdicts.by_others(desk.actor)
    attached = desk.catalog.predictions
    return {
        "images": [doubt.i for doubt in shown],
        "open": [doubt.i for doubt in shown if _is_open(desk, doubt, seen_by_others)],
        "reasons": (n := {name: sum(doubt.reason == name for doubt in found) for name in REASONS}),
        "choices": {
            "": "All images in doubt",
            SUSPECTED: f"Suspected labels ({n[SUSPECTED]:,})",
            DISAGREEMENT: f"Seen otherwise by {attached.name if attached else 'a run'} ({n[DISAGREEMENT]:,})",
        },
        "latest": _latest(desk),
        "run": attached.name if attached else None,
        "has_findings": desk.catalog.has_findings,
        "nothing": NO_DOUBT if desk.catalog.has_findings or attached else NOTHING_KNOWN,
    }


def neighbours(desk: "Desk", arguments: Arguments) -> Json:
    """Return what is known about image `i`, which is in doubt.

    Returns
    -------
    dict
        ``item``, ``reason`` (of `REASONS`, or empty) and ``why``, the same in a sentence; ``suggested``;
        ``probability`` by class, and ``by`` whom; ``neighbours``, the images most like it, each with
        ``similarity``, and where there are none ``why_no_neighbours``; ``answer``, what this reviewer has
        said, or empty.
    """
    i = arguments.integer("i")
    check_numbers(desk, [i])
    desk.catalog.refresh()
    desk.verdicts.refresh()
    finding = suspicion(desk.catalog, i)
    near = _as_the_check_says(desk.catalog, finding) if finding else _as_features_say(desk, i)
    item = desk.catalog.item(i)
    return {
        "item": item,
        **(_suspected(finding, item) if finding else _seen_otherwise(desk.catalog, i)),
        "suggested": suggested(desk.catalog, i),
        "neighbours": near,
        "why_no_neighbours": "" if near else NO_FEATURES,
        "answer": desk.verdicts.answer(i, desk.actor),
    }


def decide(desk: "Desk", arguments: Arguments) -> Json:
    """Write a reviewer's answer about one image and, with `apply`, make it so; one batch.

    `answer` is the label that the reviewer holds right, or `EXCLUDED` where the image should not be used.
    `seen` and `answered` are the label in force, and their own earlier answer, as they saw them.
    """
    i, answer, seen = arguments.integer("i"), arguments.text("answer"), arguments.text("seen")
    source = arguments.one_of("source", SOURCES, "review")
    check_numbers(desk, [i])
    wishes = [Wish(i, "review", arguments.text("answered", ""), answer)]
    applies = arguments.flag("apply", True)
    keeps = not applies or answer == EXCLUDED
    wishes.append(Wish(i, "label", seen, seen if keeps else answer))
    if applies and answer == EXCLUDED and not desk.catalog.is_excluded(i):
        wishes.append(Wish(i, "excluded", "", YES))
    if applies and wishes[0].seen == EXCLUDED != answer and desk.catalog.is_excluded(i):
        wishes.append(Wish(i, "excluded", YES, ""))
    told = commit(desk, wishes, Note.read(arguments, source))
    desk.verdicts.refresh()
    return {**told, "latest": _latest(desk)}


OPERATIONS: dict[str, Operation] = {
    "queue": Operation(queue),
    "neighbours": Operation(neighbours),
    "decide": Operation(decide, writes=True),
}


def _is_open(desk: "Desk", doubt: Doubt, seen_by_others: set[int]) -> bool:
    """Return whether this reviewer has still to answer: also where another has, and corrected the label."""
    if desk.verdicts.answer(doubt.i, desk.actor) or desk.catalog.is_excluded(doubt.i):
        return False
    return doubt.stands or doubt.i in seen_by_others


def _suspected(finding: Finding, item: Json) -> Json:
    changed = f" {item['given']}, which has been changed" if item["changed"] else ""
    return {
        "reason": SUSPECTED,
        "why": f"The check suspects the label{changed}.",
        "probability": dict(finding.details.get("probability", {})),
        "by": "out-of-fold models of the check",
    }


def _seen_otherwise(catalog: "Catalog", i: int) -> Json:
    attached = catalog.predictions
    told = attached.at(i) if attached else None
    if attached is None or told is None:
        by = f"the run {attached.name}" if attached else ""
        return {"reason": "", "why": "", "probability": {}, "by": by}
    probability = dict(zip(attached.predictions.class_names, told.y_prob.round(4).tolist(), strict=True))
    by = f"the run {attached.name}"
    return {"reason": DISAGREEMENT, "why": f"Predicted by {by}.", "probability": probability, "by": by}


def _as_the_check_says(catalog: "Catalog", finding: Finding) -> list[Json]:
    """Return the neighbours that a check has named, with what is known of them now."""
    named = finding.details.get("neighbours", ())
    known = ((catalog.index(str(one.get("id"))), one.get("similarity")) for one in named)
    return [{**catalog.item(i), "similarity": similarity} for i, similarity in known if i is not None]


def _as_features_say(desk: "Desk", i: int) -> list[Json]:
    """Return the images most like image `i`, among those that the run which is shown has seen."""
    attached = desk.catalog.predictions
    if attached is None or attached.name not in desk.shelf.names():
        return []
    found = desk.alike.nearest(desk.shelf.run(attached.name), i)
    return [{**desk.catalog.item(k), "similarity": round(similarity, 4)} for k, similarity in found]


def _latest(desk: "Desk") -> Json:
    """Count errors among this reviewer's latest answers: what says when to stop."""
    answers = desk.verdicts.latest(desk.actor, N_LATEST)
    excluded = sum(answer.label == EXCLUDED for answer in answers)
    errors = sum(answer.is_error for answer in answers)
    found = "1 was an error" if errors == 1 else f"{errors} were errors"
    says = f"Of your last {len(answers)}, {found}"
    return {
        "n": len(answers),
        "errors": errors,
        "excluded": excluded,
        "says": (says + (f", {excluded} excluded" if excluded else "")) if answers else "",
    }
