"""Who has reviewed, how far they agree, and what they disagree on."""

from itertools import combinations
from typing import TYPE_CHECKING

from tellapart.studio.operation import Arguments, Json, Operation

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk

MOST_ROWS = 200
"""Disagreements that one answer lists."""


def agreement(desk: "Desk", arguments: Arguments) -> Json:
    """Return the reviewers, how far they agree, and what they disagree on, what is not settled first.

    Agreement is about what each answered first; disagreements are about what they hold right now. Arguments:
    `start`, `count` of the disagreements.
    """
    from tellapart.studio.agreement import cohen, fleiss

    start = arguments.integer("start", 0)
    count = arguments.integer("count", MOST_ROWS, low=1, high=MOST_ROWS)
    desk.catalog.refresh()
    desk.verdicts.refresh()
    first = desk.verdicts.first_labels()
    pairs = []
    for a, b in combinations(first, 2):
        both = sorted(first[a].keys() & first[b].keys())
        pairs.append({"a": a, "b": b, **cohen([(first[a][i], first[b][i]) for i in both])._asdict()})
    common = sorted(set.intersection(*map(set, first.values()))) if len(first) > 2 else []
    disputes = desk.verdicts.disputes()
    return {
        "reviewers": [{"name": name, "n": len(answers)} for name, answers in first.items()],
        "pairs": pairs,
        "all": fleiss([[a[i] for a in first.values()] for i in common])._asdict() if common else None,
        "disagreements": len(disputes),
        "rows": [
            {
                "item": desk.catalog.item(dispute.i),
                "answers": dispute.answers,
                "settled": dispute.settled._asdict() if dispute.settled else None,
            }
            for dispute in disputes[start : start + count]
        ],
    }


OPERATIONS: dict[str, Operation] = {"agreement": Operation(agreement)}
