"""A linear head on the features of a frozen network: logistic regression or a linear SVM.

Both are fitted by the same few lines. One head per cross-validation fold and the final head on all
images are fitted at once, as columns of one matrix product, so that choosing the regularisation
strength and predicting every training image out of fold cost little more than one fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from tellapart.errors import TooFewImages

Kind = Literal["logistic", "svm"]
Array32 = NDArray[np.float32]
Array64 = NDArray[np.float64]

MAX_FOLDS = 5
C_PATH = tuple(float(c) for c in np.logspace(-5, 2, 15))
"""Inverse regularisation strengths, as scikit-learn's ``C``, from the strongest regularisation up."""

SEARCH_TOLERANCE, FINAL_TOLERANCE = 1e-3, 1e-4
"""Largest component of the gradient of the mean loss at which a fit counts as found."""


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
        float64 of shape (n_samples, n_classes): each image's logits from a head that was fitted
        without its fold; temperature and threshold are chosen on them.
    chosen
        ``C``, ``folds`` and ``cv_log_loss`` (nats; weighted by class where classes are balanced).
    """

    head: LinearHead
    oof_logits: Array64
    chosen: dict[str, float | str | int]


def fit_head(
    features: Array32,
    y: NDArray[np.int64],
    *,
    kind: Kind,
    balance: bool,
    groups: Sequence[str] | None,
    n_classes: int,
    seed: int,
    flipped: Array32 | None = None,
) -> FittedHead:
    """Fit a linear head, its regularisation strength chosen by cross-validated log-loss.

    ``C`` rises from strong regularisation, each fit starting from the last one, until the log-loss
    has risen twice in a row.

    Parameters
    ----------
    features
        float32 of shape (n_samples, n_features).
    y
        int64 of shape (n_samples,), in [0, n_classes).
    kind
        ``"logistic"``: multinomial logistic regression. ``"svm"``: one-vs-rest linear support vector
        machines with the squared hinge loss, whose decision values become logits by vector scaling
        (Guo et al., "On Calibration of Modern Neural Networks", 2017) fitted out of fold, which for
        two classes is Platt's scaling (Platt, "Probabilistic Outputs for Support Vector Machines", 1999).
    balance
        Weigh classes inversely to their frequency.
    groups
        One per sample; samples of one group stay in one fold.
    n_classes
        Number of classes; each needs two samples.
    seed
        Shuffles the folds.
    flipped
        Features of the mirrored images, shape of `features`: further training rows, in their
        originals' folds.

    Raises
    ------
    TooFewImages
        If a class has fewer than two samples.
    """
    counts = np.bincount(y, minlength=n_classes)
    if counts.min() < 2:
        raise TooFewImages(
            f"class number {counts.argmin()} has {counts.min()} training images; a head needs at least 2 "
            "of each class: add images of it or leave the class out"
        )
    folds = _folds(y, groups, seed)
    class_weight = len(y) / (n_classes * counts) if balance else np.ones(n_classes)
    rows = features if flipped is None else np.concatenate([features, flipped])
    copies = len(rows) // len(y)
    mean, scale = _standardisation(rows)
    problem = _Problem(
        x=(rows - mean) / scale,
        y=np.tile(y, copies),
        sample_weight=_fold_weights(np.tile(folds, copies), np.tile(class_weight[y], copies) / copies),
        losses=LOSSES[kind],
    )
    search = _search(problem, folds, class_weight[y], kind)
    weight, bias = _final(problem, search)
    weight = weight / scale
    bias = bias - weight @ mean
    ...
