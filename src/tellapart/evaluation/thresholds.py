"""How the operating point of a two-class classifier is chosen."""

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import ConfigError, DataError
from tellapart.evaluation.intervals import Resampling
from tellapart.evaluation.operating_points import OperatingPoints, below_each
from tellapart.records import Threshold

__all__ = ["Threshold", "choose_band", "choose_by_cost", "choose_threshold"]

_SLACK = 1e-9
"""By which a share may miss its target: 0.95 of 20 images are 19, not 19.000000000000001."""


def choose_threshold(
    y_true_positive: NDArray[np.bool_],
    score: NDArray[np.float64],
    *,
    target_sensitivity: float | None,
    surely: Resampling | None = None,
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
    surely
        Which samples belong together, if not only the sensitivity but the lower end of its 95 % interval
        is to reach the target.

    Returns
    -------
    float
        Halfway between two neighbouring scores, so that no sample stands on the edge; below every score
        where all samples must be called positive.

    Raises
    ------
    DataError
        If a class has no sample or a score is not a number, or no threshold surely reaches the target.
    ConfigError
        If `target_sensitivity` is not in (0, 1].
    """
    points = _every_point(y_true_positive, score)
    if target_sensitivity is None:
        # Whole numbers, so that equal indices compare equal.
        youden = points.tp * int(points.fp[0]) - points.fp * int(points.tp[0])
        return float(points.thresholds[youden.argmax()])
    _check_share("target_sensitivity", target_sensitivity)
    if surely is not None:
        return float(points.thresholds[_surely(points, target_sensitivity, surely)])
    reached = points.tp >= target_sensitivity * points.tp[0] - _SLACK
    return float(points.thresholds[np.flatnonzero(reached)[-1]])


def choose_by_cost(
    y_true_positive: NDArray[np.bool_],
    score: NDArray[np.float64],
    *,
    miss_cost: float,
    prevalence: float | None = None,
) -> float:
    """Choose the threshold at which mistakes cost least; of equals, the most sensitive.

    Parameters
    ----------
    y_true_positive, score
        As `choose_threshold`.
    miss_cost
        What a missed positive costs, where a false alarm costs 1.
    prevalence
        Share of positives where the model will be used, in (0, 1); None takes that of the samples.

    Returns
    -------
    float
        As `choose_threshold`. At least one sample is called positive.

    Raises
    ------
    DataError
        As `choose_threshold`.
    ConfigError
        If the cost is not above 0 or the prevalence not between 0 and 1.
    """
    points = _every_point(y_true_positive, score)
    if not 0 < miss_cost < np.inf:
        raise ConfigError(f"a missed positive costs {miss_cost!r} false alarms; give a number above 0")
    positives, others = int(points.tp[0]), int(points.fp[0])
    cost = miss_cost * (positives - points.tp)
    if prevalence is None:
        cost = cost + points.fp
    elif 0 < prevalence < 1:
        cost = cost + points.fp * (positives / others * (1 - prevalence) / prevalence)
    else:
        raise ConfigError(f"prevalence is {prevalence!r}; it must be between 0 and 1")
    return float(points.thresholds[np.round(cost, 9).argmin()])


def choose_band(
    y_true_positive: NDArray[np.bool_], score: NDArray[np.float64], *, sensitivity: float, specificity: float
) -> tuple[float, float]:
    """Choose two thresholds between which a person decides, so that what the model decides is right enough.

    Parameters
    ----------
    y_true_positive, score
        As `choose_threshold`.
    sensitivity
        In (0, 1]: at most the rest of the positives lies below the lower threshold.
    specificity
        In (0, 1]: at most the rest of the others lies from the upper threshold up.

    Returns
    -------
    low, high
        The narrowest such band, each as `choose_threshold` gives them; both the same where one threshold
        reaches both targets.

    Raises
    ------
    DataError
        As `choose_threshold`, or if no threshold reaches the specificity.
    ConfigError
        If a target is not in (0, 1].
    """
    low = choose_threshold(y_true_positive, score, target_sensitivity=sensitivity)
    _check_share("specificity", specificity)
    points = _every_point(y_true_positive, score)
    others = int(points.fp[0])
    reached = np.flatnonzero(others - points.fp >= specificity * others - _SLACK)
    if not reached.size:
        raise DataError(
            f"no threshold reaches a specificity of {specificity:g}: the highest score of these images is "
            "one of the other class's; ask for less"
        )
    return low, max(low, float(points.thresholds[reached[0]]))


def _every_point(y_true_positive: NDArray[np.bool_], score: NDArray[np.float64]) -> OperatingPoints:
    """Return a threshold below each distinct score; at the first, all samples are called positive."""
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
    return OperatingPoints(positive, scores, below_each(np.unique(scores)), Resampling.of(scores.size, None))


def _surely(points: OperatingPoints, target: float, resampling: Resampling) -> int:
    """Return the index of the highest threshold whose sensitivity's lower end reaches the target."""

    def lower_end(index: int) -> float:
        one = OperatingPoints(points.positive, points.score, points.thresholds[[index]], resampling)
        ends = one.estimates(0)["sensitivity"].ci95
        return ends[0] if ends else 0.0

    # Where nothing is missed, the interval is made in another way; from there on its end only falls.
    faultless = int(np.flatnonzero(points.tp == points.tp[0])[-1])
    beyond = range(faultless + 1, points.thresholds.size)
    best = faultless + bisect_left(beyond, True, key=lambda index: lower_end(index) < target)
    if best == faultless and lower_end(faultless) < target:
        raise DataError(
            f"no threshold surely reaches a sensitivity of {target:g}: even where all {points.tp[0]} "
            f"positive images are found, its interval begins at {lower_end(faultless):.3f}; ask for less, or "
            "validate on more images"
        )
    return best


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ConfigError(f"{name} is {value!r}; it must be above 0, at most 1")
