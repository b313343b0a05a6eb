"""A linear head on the features of a frozen network: logistic regression or a linear SVM.

The final head and one head per cross-validation fold are fitted at once, as the columns of one matrix
product, so that choosing the regularisation and predicting every training image out of fold cost
little more than one fit. In the features' principal axes the curvature of the loss is nearly diagonal;
dividing by it lets L-BFGS arrive in about ten steps instead of a hundred.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from threadpoolctl import threadpool_limits

from tellapart.data.splits import deal
from tellapart.errors import TooFewImages
from tellapart.training.config import HeadKind

Array32 = NDArray[np.float32]
Array64 = NDArray[np.float64]

MAX_FOLDS = 5
C_PATH = tuple(float(c) for c in np.logspace(-5, 2, 15))
"""Inverse regularisation strengths, as scikit-learn's ``C``, from the strongest regularisation up."""

TOLERANCE = 1e-3
"""Largest component of the preconditioned gradient of the mean loss at which a fit counts as found."""


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Logits are ``features @ weight.T + bias``; probabilities are ``softmax(logits / temperature)``.

    Attributes
    ----------
    weight
        float32 of shape (n_classes, n_features), for features as the network gives them.
    bias
        float32 of shape (n_classes,).
    """

    weight: Array32
    bias: Array32

    def logits(self, features: Array32) -> Array64:
        """Return float64 logits of shape (n_samples, n_classes)."""
        return (features @ self.weight.T + self.bias).astype(np.float64)


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A head, and what cross-validation said about it.

    Attributes
    ----------
    head
        Fitted on all training images.
    oof_logits
        float64 of shape (n_samples, n_classes): each image's logits from the head fitted without its
        fold; temperature and threshold are chosen on them.
    chosen
        ``C``, ``cv_folds`` and ``cv_log_loss`` (nats; weighted by class where classes are balanced).
    """

    head: LinearHead
    oof_logits: Array64
    chosen: dict[str, float | str | int]


def fit_head(
    features: Array32,
    y: NDArray[np.int64],
    *,
    kind: HeadKind,
    balance: bool,
    groups: Sequence[str] | None,
    n_classes: int,
    seed: int,
) -> FittedHead:
    """Fit a linear head, its regularisation chosen by cross-validated log-loss.

    Features are centred and divided by one common scale. Dividing each by its own deviation instead
    would raise the features that hardly ever fire to the weight of the others, and predicts worse.

    Parameters
    ----------
    features
        float32 of shape (n_samples, n_features).
    y
        int64 of shape (n_samples,), in [0, n_classes).
    kind
        ``"logistic"``: multinomial logistic regression. ``"svm"``: one-vs-rest linear support vector
        machines with the squared hinge loss, whose out-of-fold decision values are turned into logits
        by vector scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017); for two
        classes that is Platt's form ("Probabilistic Outputs for Support Vector Machines", 1999).
    balance
        Weigh classes inversely to their frequency.
    groups
        One per sample; samples of one group stay in one fold.
    n_classes
        Number of classes; each needs two samples.
    seed
        Shuffles the folds.

    Raises
    ------
    TooFewImages
        If a class has fewer than two samples, or all samples are of one group.
    """
    counts = np.bincount(y, minlength=n_classes)
    if counts.min() < 2:
        raise TooFewImages(
            f"class number {counts.argmin()} has {counts.min()} training image(s); a head needs 2 of each "
            "class: add images of it, or leave that class out"
        )
    folds = _assign_folds(y, groups, seed)
    weights = (len(y) / (n_classes * counts) if balance else np.ones(n_classes))[y]
    # Products this narrow gain little from threads, lose much when cores are busy, and with one thread
    # come out the same on machines with any number of cores.
    with threadpool_limits(limits=1, user_api="blas"):
        axes = _principal_axes(features)
        problem = _Problem(axes.project(features), axes.variance, y, weights, folds, n_classes, _LOSSES[kind])
        found = _search(problem, kind)
    coef = found.coef[-1] * found.slope[:, None]
    coef[:, -1] += found.offset
    chosen: dict[str, float | str | int] = {
        "C": found.c,
        "cv_folds": problem.n_folds,
        "cv_log_loss": found.loss,
    }
    return FittedHead(axes.unproject(coef), found.logits, chosen)


def _assign_folds(y: NDArray[np.int64], groups: Sequence[str] | None, seed: int) -> NDArray[np.int64]:
    """Return each sample's fold; as many folds as the rarest class has groups, from 2 to `MAX_FOLDS`."""
    names = np.arange(len(y)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    n_groups = int(names.max()) + 1
    if n_groups < 2:
        raise TooFewImages(
            f"all {len(y)} training images are of one group, which cannot be divided into folds: "
            "add images of other groups, or train without groups"
        )
    rarest = min(len(np.unique(names[y == label])) for label in np.unique(y))
    n_folds = min(max(rarest, 2), MAX_FOLDS)
    return deal(y, names.tolist(), [1 / n_folds] * n_folds, seed=seed, every_class=False)


class _Axes(NamedTuple):
    """Principal axes (n_features, rank) of centred features, which one common scale brings to size 1."""

    mean: Array32
    scale: float
    basis: Array32
    variance: Array64

    def project(self, features: Array32) -> Array32:
        return np.asarray((features - self.mean) @ (self.basis / np.float32(self.scale)))

    def unproject(self, coef: Array64) -> LinearHead:
        """Return the head on raw features for coefficients on projected ones, the bias last."""
        weight = coef[:, :-1] @ self.basis.T.astype(np.float64) / self.scale
        bias = coef[:, -1] - weight @ self.mean.astype(np.float64)
        return LinearHead(weight.astype(np.float32), bias.astype(np.float32))


def _principal_axes(features: Array32) -> _Axes:
    """Find the axes; a rotation only, except that no more are kept than there are samples."""
    mean = features.mean(axis=0)
    centred = features - mean
    scale = float(np.sqrt(np.mean(np.square(centred)))) or 1.0
    centred /= np.float32(scale)
    within = np.linalg.qr(centred.T)[0] if len(centred) < centred.shape[1] else None
    if within is not None:
        centred = centred @ within
    variance, basis = np.linalg.eigh(centred.T @ centred / np.float32(len(centred)))
    basis = basis if within is None else within @ basis
    return _Axes(mean, scale, basis, np.maximum(variance, 0).astype(np.float64))


LossFunction = Callable[[Array32, Array32], tuple[Array32, Array32]]


class _Loss(NamedTuple):
    """Loss per row and its derivative by the scores; about how curved it is; where its path starts."""

    value_and_slope: LossFunction
    curvature: float
    c_path: tuple[float, ...]


def _cross_entropy(scores: Array32, one_hot: Array32) -> tuple[Array32, Array32]:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=-1, keepdims=True)
    return np.log(total[..., 0]) - (shifted * one_hot).sum(axis=-1), exponentials / total - one_hot


def _squared_hinge(scores: Array32, one_hot: Array32) -> tuple[Array32, Array32]:
    sign = 2 * one_hot - 1
    short = np.maximum(0, 1 - sign * scores)
    return np.square(short).sum(axis=-1), -2 * sign * short


_LOSSES = {
    "logistic": _Loss(_cross_entropy, 0.15, C_PATH[2:]),
    "svm": _Loss(_squared_hinge, 1.0, C_PATH),  # more curved, so the same C regularises it less
}


class _Problem:
    """Fits one head per fold left out, and last the one on everything, for a given ``C``."""

    def __init__(
        self,
        x: Array32,
        variance: Array64,
        y: NDArray[np.int64],
        weights: Array64,
        folds: NDArray[np.int64],
        n_classes: int,
        loss: _Loss,
    ) -> None:
        self.x, self.y, self.weights, self.folds, self.loss = x, y, weights, folds, loss
        self.n_folds = int(folds.max()) + 1
        self.curvature = loss.curvature * np.append(variance, 1.0)
        self.one_hot = np.eye(n_classes, dtype=np.float32)[y][:, None, :]
        used = folds[:, None] != np.arange(self.n_folds + 1)
        self.share = (used * weights[:, None] / weights.sum()).astype(np.float32)
        self.shape = (self.n_folds + 1, n_classes, x.shape[1] + 1)

    def fit(self, coef: Array64, c: float) -> Array64:
        """Return float64 coefficients of shape (n_folds + 1, n_classes, rank + 1), the bias last."""
        ridge = np.full(self.shape[-1], 1 / (c * self.weights.sum()))
        ridge[-1] = 0.0
        unit = 1 / np.sqrt(self.curvature + ridge)
        result = minimize(
            self._objective,
            (coef / unit).ravel(),
            args=(unit, ridge),
            jac=True,
            method="L-BFGS-B",
            options={"gtol": TOLERANCE, "ftol": 0.0, "maxiter": 500},
        )
        return np.asarray(result.x.reshape(self.shape) * unit)

    def _objective(self, flat: Array64, unit: Array64, ridge: Array64) -> tuple[float, Array64]:
        n_heads, n_classes, n_coef = self.shape
        coef = flat.reshape(-1, n_coef) * unit
        single = coef.astype(np.float32)
        scores = self.x @ single[:, :-1].T + single[:, -1]
        value, slope = self.loss.value_and_slope(scores.reshape(-1, n_heads, n_classes), self.one_hot)
        slope = (slope * self.share[:, :, None]).reshape(scores.shape)
        gradient = coef * ridge
        total = np.vdot(value, self.share).astype(np.float64) + (coef * gradient).sum() / 2
        gradient[:, :-1] += slope.T @ self.x
        gradient[:, -1] += slope.sum(axis=0)
        return float(total), (gradient * unit).ravel()

    def out_of_fold(self, coef: Array64) -> Array64:
        """Return each sample's scores from the head that was fitted without its fold."""
        scores = np.empty((len(self.y), self.shape[1]))
        for fold, head in enumerate(coef[:-1].astype(np.float32)):
            held_out = np.flatnonzero(self.folds == fold)
            scores[held_out] = self.x[held_out] @ head[:, :-1].T + head[:, -1]
        return scores


class _Found(NamedTuple):
    loss: float
    c: float
    coef: Array64
    slope: Array64
    offset: Array64
    logits: Array64


def _search(problem: _Problem, kind: HeadKind) -> _Found:
    """Raise ``C`` step by step, each fit starting from the last, until the log-loss rises."""
    n_classes = problem.shape[1]
    coef, best = np.zeros(problem.shape), None
    slope, offset = np.ones(n_classes), np.zeros(n_classes)
    for c in problem.loss.c_path:
        coef = problem.fit(coef, c)
        scores = problem.out_of_fold(coef)
        if kind == "svm":
            slope, offset = vector_scaling(scores, problem.y, problem.weights)
        logits = scores * slope + offset
        log_prob = log_softmax(logits, axis=1)[np.arange(len(logits)), problem.y]
        loss = float(-np.average(log_prob, weights=problem.weights))
        if best is not None and loss >= best.loss:
            break
        best = _Found(loss, c, coef, slope, offset, logits)
    assert best is not None
    return best


def vector_scaling(scores: Array64, y: NDArray[np.int64], weights: Array64) -> tuple[Array64, Array64]:
    """Fit ``softmax(slope * scores + offset)`` to the labels by log-loss.

    Guo et al. (2017), with slopes held at or above zero and, as in Platt (1999), targets that stop short
    of 0 and 1, so that separable scores do not send the slopes to infinity: each class's target is
    smoothed by one further image that is spread evenly over the classes.

    Parameters
    ----------
    scores
        float64 of shape (n_samples, n_classes): decision values of images that were not fitted.
    y
        int64 of shape (n_samples,).
    weights
        float64 of shape (n_samples,).

    Returns
    -------
    slope, offset
        float64 of shape (n_classes,) each.
    """
    n_classes = scores.shape[1]
    counts = np.bincount(y, minlength=n_classes)[y]
    target = (np.eye(n_classes)[y] * counts[:, None] + 1 / n_classes) / (counts[:, None] + 1)
    share = (weights / weights.sum())[:, None]

    def objective(flat: Array64) -> tuple[float, Array64]:
        slope, offset = flat.reshape(2, n_classes)
        logits = scores * slope + offset
        residual = share * (softmax(logits, axis=1) - target)
        loss = -(share * target * log_softmax(logits, axis=1)).sum()
        return float(loss), np.concatenate([(residual * scores).sum(axis=0), residual.sum(axis=0)])

    start = np.concatenate([np.ones(n_classes), np.zeros(n_classes)])
    bounds = [(0.0, None)] * n_classes + [(None, None)] * n_classes
    result = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"gtol": 1e-5})
    slope, offset = result.x.reshape(2, n_classes)
    return slope, offset
