"""The figures of an evaluation by name: what each is called, what it means, and how it is written."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Measure(NamedTuple):
    """How a figure is called, explained and written, and which end of it is good."""

    label: str
    meaning: str
    is_percent: bool = False
    lower_is_better: bool = False

    @property
    def explained(self) -> str:
        """Its meaning, and a warning where less is more."""
        return f"{self.meaning}: lower is better" if self.lower_is_better else self.meaning


MEASURES = {
    "accuracy": Measure("Accuracy", "named correctly, of all images", True),
    "balanced_accuracy": Measure("Balanced accuracy", "mean over classes of the share found", True),
    "roc_auc_macro": Measure("AUROC", "chance that a positive image ranks above a negative one"),
    "average_precision_macro": Measure("Average precision", "area under the precision-recall curve"),
    "mcc": Measure("MCC", "correlation of call and truth: 0 is chance, 1 perfect"),
    "log_loss": Measure("Log loss", "surprise per image", lower_is_better=True),
    "brier": Measure("Brier score", "squared error of the probabilities", lower_is_better=True),
    "ece": Measure("Calibration error (ECE)", "mean gap of stated and observed share", lower_is_better=True),
    "sensitivity": Measure("Sensitivity", "found, of those that have it", True),
    "specificity": Measure("Specificity", "cleared, of those that do not", True),
    "ppv": Measure("PPV", "right, of those called positive", True),
    "npv": Measure("NPV", "right, of those called negative", True),
    "lr_positive": Measure("LR+", "factor on the odds after a positive call"),
    "lr_negative": Measure("LR\N{MINUS SIGN}", "factor on the odds after a negative call"),
    "precision": Measure("Precision", "right, of those called this class", True),
    "recall": Measure("Recall", "found, of those of this class", True),
    "f1": Measure("F1", "harmonic mean of precision and recall"),
    "support": Measure("Images", "of this class in the test set"),
    "roc_auc": Measure("AUROC", "chance that an image of the class ranks above another"),
    "average_precision": Measure("Average precision", "area under the precision-recall curve"),
    "classwise_ece": Measure("Class-wise ECE", "the same gap, averaged over classes", lower_is_better=True),
    "slope": Measure("Calibration slope", "1 is right; below 1 the probabilities are too extreme"),
    "intercept": Measure("Calibration intercept", "0 is right; above 0 the probabilities are too low"),
}
_CARDS_OF_TWO = ("roc_auc_macro", "sensitivity", "specificity", "ppv", "npv", "balanced_accuracy")
_CARDS_OF_MANY = ("balanced_accuracy", "roc_auc_macro", "accuracy", "average_precision_macro", "mcc", "ece")


def write_label(name: str) -> str:
    """Return a figure's name as readers know it."""
    return MEASURES[name].label if name in MEASURES else name.replace("_", " ")


def write_figure(value: float, name: str = "") -> str:
    """Write a figure: shares in percent with one decimal, counts whole, the rest with three decimals."""
    if not isinstance(value, int) and not math.isfinite(value):
        return "not defined" if math.isnan(value) else "∞"
    if _is_percent(name):
        return f"{100 * value:.1f} %"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def write_interval(value: float, name: str = "") -> str:
    """Write the 95 % interval of an Estimate, or nothing where it has none."""
    ends = getattr(value, "ci95", None)
    if ends is None or any(math.isnan(end) for end in ends):
        return ""
    low, high = (write_figure(end, name) for end in ends)
    return f"{low.removesuffix(' %')} to {high}"


def _is_percent(name: str) -> bool:
    return name in MEASURES and MEASURES[name].is_percent


def card_names(positive: str | None) -> Sequence[str]:
    """Return the figures that are shown first: of two classes, or of many where none is positive."""
    return _CARDS_OF_MANY if positive is None else _CARDS_OF_TWO
