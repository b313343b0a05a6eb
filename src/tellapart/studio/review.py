"""The queue of images worth a second look, deciding on each, and how far reviewers agree."""

from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tellapart.audit.findings import Finding
from tellapart.data.label_events import YES
from tellapart.studio.attached import SUSPECT
from tellapart.studio.labelling import Note, Wish, check_numbers, commit
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.query import Query
from tellapart.studio.verdicts import ADJUDICATION, EXCLUDED

if TYPE_CHECKING:
    from tellapart.studio.catalog import Catalog
    from tellapart.studio.desk import Desk
    from tellapart.studio.verdicts import Verdicts

REASONS = ("suspected", "disagreement")
"""Why an image is in the queue: the audit suspects its label, or a run's prediction is another."""

N_LATEST = 50
"""Answers of which is told how many found an error."""

MOST_ROWS = 200
"""Disagreements that one answer lists."""

SOURCES = ("review", "suggestion", ADJUDICATION)


class Doubt(NamedTuple):
    """An image worth a second look, why, and whether its label is still another than the one suggested."""

    i: int
    reason: str
    stands: bool


def queue(desk: "Desk", arguments: Arguments) -> Json:
    """Return the images worth a second look: suspected labels first, then what the run sees otherwise.

    In both, the images whose own label is least probable come first. The order does not change while they are
    worked through: those that are answered stay, and are not among `open`.
    """
    reason = arguments.one_of("reason", ("", *REASONS), "")
    desk.catalog.refresh()
    desk.verdicts.refresh()
    doubts = [doubt for doubt in _doubts(desk.catalog) if reason in ("", doubt.reason)]
    seen_by_others = desk.verdicts.by_others(desk.actor)
    waiting = [doubt.i for doubt in doubts if _is_open(desk, doubt, seen_by_others)]
    return {
        "images": [doubt.i for doubt in doubts],
        "open": waiting,
        "reasons": {name: sum(doubt.reason == name for doubt in doubts) for name in REASONS},
        "latest": _latest(desk),
    }


def neighbours(desk: "Desk", arguments: Arguments) -> Json:
    """Return what is known about one image in doubt: probabilities, nearest images, own answer."""
    i = arguments.integer("i")
    check_numbers(desk, [i])
    catalog = desk.catalog
    catalog.refresh()
    desk.verdicts.refresh()
    finding, attached = _suspicion(catalog, i), catalog.predictions
    told = attached.at(i) if attached else None
    probability: dict[str, float] = {}
    if finding is not None:
        probability = dict(finding.details.get("probability", {}))
    elif attached and told:
        names = attached.predictions.class_names
        probability = {name: round(float(p), 4) for name, p in zip(names, told.y_prob, strict=True)}
    near = finding.details.get("neighbours", ()) if finding else ()
    return {
        "item": catalog.item(i),
        "reason": REASONS[0] if finding else REASONS[1] if told else "",
        "suggested": _suggested(catalog, i),
        "probability": probability,
        "by": "out-of-fold models of the check"
        if finding
        else f"the run {attached.name}"
        if attached
        else "",
        "neighbours": [row for one in near if (row := _neighbour(catalog, one))],
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


def agreement(desk: "Desk", arguments: Arguments) -> Json:
    """Return the reviewers, how far they agree, and what they disagree on, what is not settled first.

    Agreement is about what each answered first; disagreements are about what they hold right now.
    """
    from tellapart.studio.agreement import cohen, fleiss

    start = arguments.integer("start", 0)
    count = arguments.integer("count", MOST_ROWS, low=1, high=MOST_ROWS)
    desk.catalog.refresh()
    verdicts = desk.verdicts
    verdicts.refresh()
    first = {name: answers for name, answers in sorted(verdicts.first.items()) if answers}
    pairs = []
    for a, b in combinations(first, 2):
        both = sorted(first[a].keys() & first[b].keys())
        found = cohen([(first[a][i].label, first[b][i].label) for i in both])
        pairs.append({"a": a, "b": b, **found._asdict()})
    common = sorted(set.intersection(*map(set, first.values()))) if len(first) > 2 else []
    rows = _disagreements(verdicts)
    return {
        "reviewers": [{"name": name, "n": len(answers)} for name, answers in first.items()],
        "pairs": pairs,
        "all": fleiss([[a[i].label for a in first.values()] for i in common])._asdict() if common else None,
        "disagreements": len(rows),
        "rows": [_row(desk, i) for i in rows[start : start + count]],
    }


def _doubts(catalog: "Catalog") -> list[Doubt]:
    suspects = catalog.select(Query(finding=(SUSPECT,), sort="error")).tolist()
    doubts = [Doubt(i, REASONS[0], catalog.label(i) != _suggested(catalog, i)) for i in suspects]
    known = set(suspects)
    return doubts + [doubt for doubt in _seen_otherwise(catalog) if doubt.i not in known]


def _seen_otherwise(catalog: "Catalog") -> list[Doubt]:
    """Return the images of which a run predicts another class than the label, given or in force.

    Those that were corrected meanwhile are among them, so that a second reviewer sees the same images.
    """
    attached = catalog.predictions
    if attached is None:
        return []
    wrong = catalog.column("correct").holds(("wrong",))
    corrected = np.flatnonzero(catalog.column("changed").holds(("yes",)) & (attached.row >= 0) & ~wrong)
    again = [i for i in corrected.tolist() if catalog.given.samples[i].label != _suggested(catalog, i)]
    numbers = np.array([*np.flatnonzero(wrong).tolist(), *again], dtype=np.int64)
    rows = attached.row[numbers]
    names = {name: k for k, name in enumerate(attached.predictions.class_names)}
    column = np.array(
        [names.get(catalog.given.samples[i].label, -1) for i in numbers.tolist()], dtype=np.int64
    )
    own = np.where(column >= 0, attached.predictions.y_prob[rows, column], 1.0)
    return [Doubt(i, REASONS[1], bool(wrong[i])) for i in numbers[np.lexsort((numbers, own))].tolist()]


def _suspicion(catalog: "Catalog", i: int) -> Finding | None:
    """Return the finding that suspects the label of image `i`, if there is one."""
    return next((finding for finding in catalog.findings(i) if finding.kind == SUSPECT), None)


def _suggested(catalog: "Catalog", i: int) -> str:
    """Return the class that an image in doubt may be: the audit's suggestion, else the run's prediction."""
    finding = _suspicion(catalog, i)
    if finding is not None:
        return str(finding.details.get("suggested", ""))
    attached = catalog.predictions
    told = attached.at(i) if attached else None
    return told.predicted if told else ""


def _is_open(desk: "Desk", doubt: Doubt, seen_by_others: set[int]) -> bool:
    """Return whether this reviewer has still to answer: also where another has, and corrected the label."""
    if desk.verdicts.answer(doubt.i, desk.actor) or desk.catalog.is_excluded(doubt.i):
        return False
    return doubt.stands or doubt.i in seen_by_others


def _neighbour(catalog: "Catalog", told: Any) -> Json | None:
    i = catalog.index(str(told.get("id")))
    if i is None:
        return None
    return {**catalog.item(i), "similarity": told.get("similarity")}


def _latest(desk: "Desk") -> Json:
    """Count errors among this reviewer's latest answers: what says when to stop."""
    answers = desk.verdicts.latest(desk.actor, N_LATEST)
    excluded = sum(answer.label == EXCLUDED for answer in answers)
    return {"n": len(answers), "errors": sum(a.is_error for a in answers), "excluded": excluded}


def _disagreements(verdicts: "Verdicts") -> list[int]:
    labels: dict[int, set[str]] = {}
    latest: dict[int, int] = {}
    for answers in verdicts.last.values():
        for i, answer in answers.items():
            labels.setdefault(i, set()).add(answer.label)
            latest[i] = max(latest.get(i, 0), answer.seq)
    apart = [i for i, found in labels.items() if len(found) > 1]
    return sorted(apart, key=lambda i: (_is_settled(verdicts, i), i))


def _is_settled(verdicts: "Verdicts", i: int) -> bool:
    """Return whether somebody has settled it after the last answer."""
    settlement = verdicts.settled.get(i)
    return settlement is not None and all(
        answers[i].seq <= settlement.seq for answers in verdicts.last.values() if i in answers
    )


def _row(desk: "Desk", i: int) -> Json:
    verdicts = desk.verdicts
    said = {name: answers[i].label for name, answers in sorted(verdicts.last.items()) if i in answers}
    settlement = verdicts.settled[i]._asdict() if _is_settled(verdicts, i) else None
    return {"item": desk.catalog.item(i), "answers": said, "settled": settlement}


OPERATIONS: dict[str, Operation] = {
    "queue": Operation(queue),
    "neighbours": Operation(neighbours),
    "decide": Operation(decide, writes=True),
    "agreement": Operation(agreement),
}
