"""How far reviewers agree beyond chance: Cohen's kappa for two, Fleiss' for more."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.intervals import Z95, clopper_pearson

N_DRAWS = 2000
"""Bootstrap samples of images behind the interval of Fleiss' kappa."""


class Agreement(NamedTuple):
    """How far reviewers agree on `n` images.

    Attributes
    ----------
    n
        Images that all of them answered.
    observed
        Part of them, or of their pairs of answers, on which they agree, in [0, 1]; None without images.
    kappa
        In [-1, 1], 0 for chance; None where it is not defined: without images, or if all answers are one.
    ci95
        Its 95 % interval, or None.
    method
        How the interval was computed.
    """

    n: int
    observed: float | None = None
    kappa: float | None = None
    ci95: tuple[float, float] | None = None
    method: str = ""


def cohen(pairs: Sequence[tuple[str, str]]) -> Agreement:
    """Return Cohen's kappa of two reviewers (Educational and Psychological Measurement 20, 1960).

    The interval is that of the large-sample variance by Fleiss, Cohen and Everitt (Psychological Bulletin 72,
    1969). Where the two agree on every image that variance is 0; then the lower limit follows from the exact
    one (Clopper and Pearson) of the observed agreement.

    Parameters
    ----------
    pairs
        One pair of answers per image.
    """
    n = len(pairs)
    if not n:
        return Agreement(0)
    names = sorted({name for pair in pairs for name in pair})
    share = np.zeros((len(names), len(names)))
    for (a, b), count in Counter(pairs).items():
        share[names.index(a), names.index(b)] = count / n
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    observed, chance = float(np.trace(share)), float(rows @ columns)
    if len(names) == 1:
        return Agreement(n, observed)
    kappa = (observed - chance) / (1 - chance)
    if observed > 1 - 0.5 / n:
        return _whole(n, chance)
    half = Z95 * math.sqrt(max(_variance(share, kappa), 0.0) / n)
    ci95 = (max(kappa - half, -1.0), min(kappa + half, 1.0))
    return Agreement(n, observed, kappa, ci95, "large-sample variance (Fleiss, Cohen and Everitt)")


def _variance(share: NDArray[np.float64], kappa: float) -> float:
    """Return n times the variance of Cohen's kappa; `share` is the table of both answers, summing to 1."""
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    chance = rows @ columns
    on = np.diag(share)
    same = on @ (1 - (rows + columns) * (1 - kappa)) ** 2
    other = share * (columns[:, None] + rows[None, :]) ** 2
    different = (1 - kappa) ** 2 * (other.sum() - np.trace(other))
    return float((same + different - (kappa - chance * (1 - kappa)) ** 2) / (1 - chance) ** 2)


def fleiss(answers: Sequence[Sequence[str]]) -> Agreement:
    """Return Fleiss' kappa of three reviewers or more (Psychological Bulletin 76, 1971).

    The interval is the bootstrap's, over images; its draws are the same each time.

    Parameters
    ----------
    answers
        One row per image, with the answer of each reviewer; rows are of equal length, 2 at least.
    """
    n = len(answers)
    if not n:
        return Agreement(0)
    names = sorted({name for row in answers for name in row})
    counts = np.array([[row.count(name) for name in names] for row in answers], dtype=np.float64)
    observed, kappa = _fleiss(counts.sum(axis=0, keepdims=True), _agreeing(counts).sum(keepdims=True), n)
    if len(names) == 1:
        return Agreement(n, float(observed[0]))
    if observed[0] == 1:
        return _whole(n, float(((counts.sum(axis=0) / counts.sum()) ** 2).sum()))
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=N_DRAWS).astype(np.float64)
    _, drawn = _fleiss(draws @ counts, draws @ _agreeing(counts), n)
    low, high = np.nanquantile(drawn, (0.025, 0.975)).tolist()
    return Agreement(
        n, float(observed[0]), float(kappa[0]), (low, high), f"bootstrap of images, {N_DRAWS} draws"
    )


def _whole(n: int, chance: float) -> Agreement:
    """Return the agreement of reviewers who agree on every image, of which neither formula nor draws tell."""
    low = (clopper_pearson(n, n)[0] - chance) / (1 - chance)
    return Agreement(n, 1.0, 1.0, (max(low, -1.0), 1.0), "exact limit of the observed agreement")


def _agreeing(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return per image the part of its pairs of answers that agree, in [0, 1]."""
    m = counts.sum(axis=1)
    part: NDArray[np.float64] = (counts * (counts - 1)).sum(axis=1) / (m * (m - 1))
    return part


def _fleiss(
    totals: NDArray[np.float64], agreeing: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return agreement and kappa of many samples; NaN where all answers are one.

    Parameters
    ----------
    totals
        float64 of shape (n_samples, n_classes): answers by class.
    agreeing
        float64 of shape (n_samples,): sums of `_agreeing`.
    n
        Images in each sample.
    """
    chance = ((totals / totals.sum(axis=1, keepdims=True)) ** 2).sum(axis=1)
    observed = agreeing / n
    with np.errstate(divide="ignore", invalid="ignore"):
        return observed, np.where(chance < 1, (observed - chance) / (1 - chance), np.nan)
