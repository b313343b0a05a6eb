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

    ``pairs`` and ``all`` hold figures, ``table`` the same in words.

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
    everybody = fleiss([[a[i] for a in first.values()] for i in common])._asdict() if common else None
    named = [(f"{pair['a']} and {pair['b']}", pair) for pair in pairs]
    if everybody is not None:
        named.append((f"All {len(first)} (Fleiss)", everybody))
    return {
        "table": [_row(who, told) for who, told in named],
        "methods": "; ".join(dict.fromkeys(told["method"] for _, told in named if told["method"])),
        "so_far": ", ".join(f"{name} has answered {len(answers):,}" for name, answers in first.items()),
        "reviewers": [{"name": name, "n": len(answers)} for name, answers in first.items()],
        "pairs": pairs,
        "all": everybody,
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


def _row(who: str, told: Json) -> list[str]:
    """Return a row of the table: who, on how many images, on how many they agree, kappa, its interval."""
    n, kappa, ci95 = told["n"], told["kappa"], told["ci95"]
    return [
        who,
        f"{n:,}",
        f"{100 * told['observed']:.1f} %" if n else "–",
        "not defined" if kappa is None else _signed(kappa),
        " to ".join(map(_signed, ci95)) if ci95 else "–",
    ]


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


OPERATIONS: dict[str, Operation] = {"agreement": Operation(agreement)}
