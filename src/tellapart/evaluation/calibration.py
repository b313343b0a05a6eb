"""Whether probabilities mean what they say: temperature, recalibration and reliability."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import DataError
from tellapart.evaluation.estimate import Estimate
from tellapart.evaluation.intervals import Z95, Resampling, wilson
from tellapart.evaluation.metrics import bin_index

TEMPERATURES = (0.05, 20.0)
"""Range in which `fit_temperature` searches."""

_EDGE = 1e-7
"""Probabilities are kept this far from 0 and 1 before their logit is taken: float32's precision."""


class Reliability(NamedTuple):
    """Stated against observed frequency, in bins of equal width.

    Attributes
    ----------
    bin_edges
        float64 of shape (n_bins + 1,), from 0 to 1; a bin holds its upper edge.
    mean_confidence
        float64 of shape (n_bins,): mean stated probability; NaN in empty bins.
    fraction_correct
        float64 of shape (n_bins,): how often it came true; NaN in empty bins.
    count
        int64 of shape (n_bins,).
    low, high
        float64 of shape (n_bins,): Wilson's 95 % interval of `fraction_correct`, images taken as independent.
    """

    bin_edges: NDArray[np.float64]
    mean_confidence: NDArray[np.float64]
    fraction_correct: NDArray[np.float64]
    count: NDArray[np.int64]  # type: ignore[assignment]  # tuple.count, which nobody misses
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def softmax(logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return probabilities, float64 of shape (n_samples, n_classes), of logits divided by `temperature`."""
    from scipy.special import softmax as scipy_softmax

    return np.asarray(scipy_softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1))


def fit_temperature(logits: NDArray[np.float64], y_true: NDArray[np.int64]) -> float:
    """Find the temperature that makes the probabilities of these samples most likely.

    Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017. Dividing logits
    by one number changes no ranking and no predicted class.

    Parameters
    ----------
    logits
        Of shape (n_samples, n_classes), of validation or out-of-fold samples, never of training ones.
    y_true
        Class indices of shape (n_samples,).

    Returns
    -------
    float
        From 0.05 to 20. Where every sample is right, the likelihood only grows as the temperature falls
        and tells nothing of how sure to be: then 1.

    Raises
    ------
    DataError
        If there is no sample, a label is no class index or a logit is not finite.
    """
    from scipy.optimize import minimize_scalar

    values, labels = np.asarray(logits, dtype=np.float64), np.asarray(y_true, dtype=np.int64)
    if values.ndim != 2 or not len(values) or labels.shape != values.shape[:1]:
        raise DataError(f"a temperature needs logits of (samples, classes); got {values.shape}")
    if labels.min() < 0 or labels.max() >= values.shape[1] or not np.isfinite(values).all():
        raise DataError("a temperature needs finite logits and a known class for every sample")
    samples = np.arange(len(values))
    shortfall = values - values[samples, labels][:, np.newaxis]  # of the true class's logit to the others'
    rivals = np.where(np.arange(values.shape[1]) == labels[:, np.newaxis], -np.inf, shortfall)
    if rivals.max() < 0:
        return 1.0

    def negative_log_likelihood(log_temperature: float) -> float:
        return float(np.logaddexp.reduce(shortfall / np.exp(log_temperature), axis=1).mean())

    found = minimize_scalar(negative_log_likelihood, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def reliability(stated: NDArray[np.float64], came_true: NDArray[np.bool_], n_bins: int) -> Reliability:
    """Bin stated probabilities of shape (n_samples,) and compare each bin with what came true."""
    index = bin_index(stated, n_bins)
    count = np.bincount(index, minlength=n_bins)
    successes = np.bincount(index, came_true, n_bins).astype(np.float64)
    low, high = wilson(successes, count.astype(np.float64))
    with np.errstate(invalid="ignore"):
        return Reliability(
            bin_edges=np.linspace(0, 1, n_bins + 1),
            mean_confidence=np.bincount(index, stated, n_bins) / count,
            fraction_correct=successes / count,
            count=count.astype(np.int64),
            low=low,
            high=high,
        )


def recalibrate(
    stated: NDArray[np.float64], came_true: NDArray[np.bool_], resampling: Resampling
) -> dict[str, Estimate]:
    """Return slope and intercept of the logistic recalibration (Cox, Biometrika 1958).

    ``slope`` is b in logit P(true) = a + b logit(stated), 1 where right, below 1 for probabilities that
    are too extreme; ``intercept`` is a with b held at 1 (calibration in the large; Van Calster et al.,
    J. Clin. Epidemiol. 2016), 0 where right, below 0 for probabilities that are too high. The intervals
    are Wald's with the sandwich variance over images or groups.

    Parameters
    ----------
    stated
        float64 of shape (n_samples,); kept 1e-7 from 0 and 1.
    came_true
        bool of shape (n_samples,).
    resampling
        Which images belong together.
    """
    clipped = np.clip(stated, _EDGE, 1 - _EDGE)
    logit = np.log(clipped / (1 - clipped))
    outcome = came_true.astype(np.float64)
    if came_true.all() or not came_true.any():
        undefined = Estimate(float("nan"), None, "not defined: every image has the same outcome")
        return {"slope": undefined, "intercept": undefined}
    return {"slope": _slope(logit, outcome, resampling), "intercept": _intercept(logit, outcome, resampling)}


def _slope(logit: NDArray[np.float64], outcome: NDArray[np.float64], resampling: Resampling) -> Estimate:
    from sklearn.linear_model import LogisticRegression

    true, false = logit[outcome == 1], logit[outcome == 0]
    if true.min() >= false.max() or false.min() >= true.max():
        return Estimate(float("nan"), None, "not defined: the probabilities separate the outcomes")
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8, max_iter=200)
    model.fit(logit[:, np.newaxis], outcome)
    intercept, slope = float(model.intercept_[0]), float(model.coef_[0, 0])
    design = np.column_stack([logit, np.ones_like(logit)])
    return _wald(slope, design, intercept + slope * logit, outcome, resampling)


def _intercept(logit: NDArray[np.float64], outcome: NDArray[np.float64], resampling: Resampling) -> Estimate:
    from scipy.optimize import brentq
    from scipy.special import expit

    def excess(shift: float) -> float:
        return float((expit(shift + logit) - outcome).sum())

    shift = float(brentq(excess, -40, 40))
    return _wald(shift, np.ones((logit.size, 1)), shift + logit, outcome, resampling)


def _wald(
    value: float,
    design: NDArray[np.float64],
    linear: NDArray[np.float64],
    outcome: NDArray[np.float64],
    resampling: Resampling,
) -> Estimate:
    """Return the first coefficient with its cluster-robust interval (Liang and Zeger, Biometrika 1986)."""
    from scipy.special import expit

    expected = expit(linear)
    information = design.T @ (design * (expected * (1 - expected))[:, np.newaxis])
    scores = np.zeros((resampling.n_units, design.shape[1]))
    np.add.at(scores, resampling.unit, design * (outcome - expected)[:, np.newaxis])
    inverse = np.linalg.pinv(information)
    correction = resampling.n_units / max(1, resampling.n_units - 1)
    variance = (inverse @ (scores.T @ scores) @ inverse)[0, 0] * correction
    reach = Z95 * float(np.sqrt(variance))
    method = f"Wald with sandwich variance over {resampling.n_units:,} {resampling.name}"
    return Estimate(value, (value - reach, value + reach), method)
