"""The folds of a cross-validation: how far their figures lie apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tellapart.evaluation.evaluation import Evaluation


def summarise_folds(evaluations: Sequence[Evaluation]) -> dict[str, dict[str, Any]]:
    """Return each headline figure's spread over the folds of a cross-validation.

    Returns
    -------
    dict
        Figure to ``mean`` and ``std`` (of the sample, n - 1) over the folds that define it, and
        ``values``, one per fold; None where not defined or infinite. The spread shows how much training
        and test sets differ; as folds share training images, it is no confidence interval.
    """
    by_fold = [evaluation.point_values() for evaluation in evaluations]
    summary = {}
    for name in by_fold[0] if by_fold else ():
        values = [fold[name] if np.isfinite(fold[name]) else None for fold in by_fold]
        defined = [value for value in values if value is not None]
        summary[name] = {
            "mean": float(np.mean(defined)) if defined else None,
            "std": float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
            "values": values,
        }
    return summary
