"""What a training run can be told, with the defaults and their checks. Imports no torch."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tellapart.data.images import Fit
from tellapart.data.pipelines import pipeline_name
from tellapart.errors import ConfigError

Mode = Literal["auto", "features", "finetune"]
HeadKind = Literal["logistic", "svm"]
Augment = Literal["none", "light", "standard", "strong"]
Pipeline = Callable[..., Any]
DEFAULT_BACKBONE = "efficientnet_lite1"

_CHOICES = {
    "mode": ("auto", "features", "finetune"),
    "head": ("logistic", "svm"),
    "optimizer": ("adamw", "sgd"),
    "fit": ("squash", "crop"),
    "precision": ("auto", "fp32", "amp"),
    "head_start": ("probe", "random"),
}

_LEAST = {
    "epochs": 1,
    "batch_size": 1,
    "image_size": 32,
    "folds": 2,
    "patience": 1,
    "seed": 0,
    "workers": 0,
    "weight_decay": 0,
    "head_epochs": 0,
    "warmup_epochs": 0,
}
"""The smallest values that are accepted; None, where a setting may be None, is not looked at."""

_FINETUNE_ONLY = (
    "epochs",
    "batch_size",
    "learning_rate",
    "backbone_rate",
    "head_start",
    "head_epochs",
    "warmup_epochs",
    "optimizer",
    "momentum",
    "weight_decay",
    "dropout",
    "label_smoothing",
    "patience",
    "augment",
    "precision",
    "val_size",
    "tensorboard",
)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run.

    Attributes
    ----------
    mode
        ``"features"``: a frozen network under a scikit-learn head; ``"finetune"``: the whole network;
        ``"auto"``: features without a GPU, finetune with one.
    backbone
        A name from `tellapart.training.backbones`, a torchvision name, or ``"timm:NAME"``.
    weights
        ``"imagenet"`` (the network's own pretrained weights), ``"none"`` (from scratch), or a file.
    image_size
        Edge in pixels; None takes the network's own.
    fit
        How an image becomes a square: ``"squash"`` or ``"crop"``.
    head
        Features mode: ``"logistic"`` or ``"svm"``.
    balance
        Weigh classes inversely to their frequency.
    epochs, batch_size
        Fine-tuning.
    learning_rate
        Peak rate of the warm-up and cosine schedule, or one rate per epoch (then `epochs` follows its
        length and no warm-up is added). None takes 1e-3 for AdamW and 1e-2 for SGD.
    backbone_rate
        The pretrained layers' learning rate as a part of the new head's, in (0, 1].
    head_start
        ``"probe"``: the new head starts as the logistic regression on the frozen features, so that
        fine-tuning does not first spoil them (Kumar et al., "Fine-tuning can distort pretrained features
        and underperform out-of-distribution", ICLR 2022); ``"random"``: near zero.
    head_epochs
        Epochs at the start in which only the head learns.
    warmup_epochs, weight_decay, momentum, dropout, label_smoothing
        As usual; `momentum` is used by SGD.
    patience
        Epochs without a better validation loss after which fine-tuning stops; None never stops early.
    augment
        A policy's name, or a sequence of pipelines, each any callable on an RGB uint8 array.
    precision
        ``"auto"`` uses mixed precision on a GPU, where it is faster, and fp32 elsewhere.
    test_size, val_size
        Parts of the whole data held out for testing and of the rest for validation, in (0, 1).
    group_by
        Metadata column whose values must not straddle a split.
    near_duplicates
        Look for near-duplicates and keep each cluster of them on one side of every split.
    allow_leaks
        Use a split that the data or a file give even if a group, a content or a near-duplicate lies on two
        of its sides.
    folds
        k of a k-fold cross-validation, or None for one held-out test set.
    positive
        For two classes, the one whose finding is "positive"; None takes the last in sorted order.
    target_sensitivity
        Choose the threshold that reaches this sensitivity on validation data; None maximises
        Youden's index.
    seed, device, workers
        `device` is ``"auto"``, ``"cpu"`` or ``"cuda"``; `workers` decode images, None chooses.
    tensorboard
        Folder for TensorBoard events, or None.
    """

    mode: Mode = "auto"
    backbone: str = DEFAULT_BACKBONE
    weights: str = "imagenet"
    image_size: int | None = None
    fit: Fit = "squash"
    head: HeadKind = "logistic"
    balance: bool = False
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float | Sequence[float] | None = None
    backbone_rate: float = 0.1
    head_start: Literal["probe", "random"] = "probe"
    head_epochs: int = 0
    warmup_epochs: int = 1
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: float = 0.9
    weight_decay: float = 0.01
    dropout: float = 0.2
    label_smoothing: float = 0.1
    patience: int | None = 7
    augment: Augment | Sequence[Pipeline] = "standard"
    precision: Literal["auto", "fp32", "amp"] = "auto"
    test_size: float = 0.2
    val_size: float = 0.15
    group_by: str | None = None
    near_duplicates: bool = True
    allow_leaks: bool = False
    folds: int | None = None
    positive: str | None = None
    target_sensitivity: float | None = None
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int | None = None
    tensorboard: Path | None = None

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            _check(getattr(self, name) in allowed, name, f"one of {', '.join(allowed)}", getattr(self, name))
        if isinstance(self.augment, str):
            policies = ("none", "light", "standard", "strong")
            _check(self.augment in policies, "augment", f"one of {', '.join(policies)}", self.augment)
        # Paths are welcome where a text is wanted; run.json holds text.
        object.__setattr__(self, "weights", str(self.weights))
        for name, least in _LEAST.items():
            value = getattr(self, name)
            _check(value is None or value >= least, name, f"a number from {least}", value)
        for name in ("test_size", "val_size"):
            _check(0 < getattr(self, name) < 1, name, "a part between 0 and 1", getattr(self, name))
        for name in ("dropout", "label_smoothing", "momentum"):
            _check(0 <= getattr(self, name) < 1, name, "a number from 0 to below 1", getattr(self, name))
        _check(0 < self.backbone_rate <= 1, "backbone_rate", "above 0, at most 1", self.backbone_rate)
        rates = self.learning_rates
        _check(all(rate > 0 for rate in rates), "learning_rate", "numbers above 0", self.learning_rate)
        if self.has_rate_per_epoch:
            _check(len(rates) > 0, "learning_rate", "at least one rate", self.learning_rate)
            # A schedule fixes the number of epochs; a frozen record is completed through object.
            object.__setattr__(self, "learning_rate", tuple(rates))
            object.__setattr__(self, "epochs", len(rates))

    @property
    def has_rate_per_epoch(self) -> bool:
        """Whether `learning_rate` gives one rate per epoch."""
        return isinstance(self.learning_rate, Sequence)

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """One rate per epoch where such a schedule was given, else the peak rate alone."""
        if isinstance(self.learning_rate, Sequence):
            return tuple(float(rate) for rate in self.learning_rate)
        if self.learning_rate is None:
            return (1e-3,) if self.optimizer == "adamw" else (1e-2,)
        return (float(self.learning_rate),)

    def used_in(self, mode: str) -> dict[str, Any]:
        """Return the settings that matter in a mode: without fine-tuning's in features mode, and so on."""
        unused = _FINETUNE_ONLY if mode == "features" else ("head",)
        return {name: value for name, value in self.to_dict().items() if name not in unused}

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-ready values."""
        settings = asdict(replace(self, augment="none"))
        named = isinstance(self.augment, str)
        settings["augment"] = (
            self.augment if named else [pipeline_name(pipeline) for pipeline in self.augment]
        )
        settings["tensorboard"] = None if self.tensorboard is None else str(self.tensorboard)
        return settings


def _check(ok: bool, name: str, accepted: str, got: object) -> None:
    if not ok:
        raise ConfigError(f"{name} is {got!r}; it must be {accepted}")
