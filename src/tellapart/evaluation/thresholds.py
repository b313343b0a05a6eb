"""How the operating point of a two-class classifier is chosen."""

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import ConfigError, DataError
from tellapart.records import Threshold

__all__ = ["Threshold", "choose_threshold"]


def choose_threshold(
    y_true_positive: NDArray[np.bool_], score: NDArray[np.float64], *, target_sensitivity: float | None
) -> float:
    """Choose the score from which a sample is called positive.

    Parameters
    ----------
    y_true_positive
        bool of shape (n_samples,): which samples are of the positive class.
    score
        float64 of shape (n_samples,), in [0, 1]: their probability of the positive class.
    target_sensitivity
        In (0, 1]: take the highest threshold that reaches it, which has the best specificity.
        None: maximise Youden's index, sensitivity + specificity - 1 (Youden, Cancer 1950); of equals,
        take the most sensitive.

    Returns
    -------
    float
        Halfway between two neighbouring scores, so that no sample stands on the edge; below every score
        where all samples must be called positive.

    Raises
    ------
    DataError
        If a class has no sample or a score is not a number.
    ConfigError
        If `target_sensitivity` is not in (0, 1].
    """
    positive = np.asarray(y_true_positive, dtype=bool)
    scores = np.asarray(score, dtype=np.float64)
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    if n_positive == 0 or n_negative == 0:
        raise DataError(
            f"a threshold needs images of both classes; got {n_positive} positive and {n_negative} negative. "
            "Use more validation data, or keep the threshold of 0.5"
        )
    if not np.isfinite(scores).all():
        raise DataError("a threshold needs finite scores; got NaN or infinite ones")
    distinct, which = np.unique(scores, return_inverse=True)
    true_positive = _at_least(which[positive], distinct.size)
    if target_sensitivity is None:
        # Whole numbers, so that equal indices compare equal.
        youden = true_positive * n_negative - _at_least(which[~positive], distinct.size) * n_positive
        best = int(youden.argmax())
    else:
        if not 0 < target_sensitivity <= 1:
            raise ConfigError(f"target_sensitivity is {target_sensitivity!r}; it must be above 0, at most 1")
        best = int(np.flatnonzero(true_positive >= target_sensitivity * n_positive - 1e-9)[-1])
    return _just_below(distinct, best)


def _at_least(which: NDArray[np.intp], n_distinct: int) -> NDArray[np.int64]:
    """Count, for each distinct score in rising order, the samples that have it or a higher one."""
    return np.bincount(which, minlength=n_distinct)[::-1].cumsum()[::-1]


def _just_below(distinct: NDArray[np.float64], index: int) -> float:
    if index == 0:
        return float(min(distinct[0], distinct[0] / 2))
    low, high = float(distinct[index - 1]), float(distinct[index])
    middle = low + (high - low) / 2
    return middle if middle > low else high  # neighbouring floats have nothing between them
