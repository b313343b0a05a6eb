"""What a learner leaves behind: logits for any image, and what was chosen on held-out data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError
from tellapart.evaluation.calibration import fit_temperature, softmax
from tellapart.evaluation.thresholds import choose_threshold
from tellapart.records import Predictions, Threshold
from tellapart.training.config import TrainConfig
from tellapart.training.features import Features

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Choices:
    """What was chosen on images that did not train the head, and never on the test set.

    Attributes
    ----------
    temperature
        By which logits are divided.
    threshold
        For two classes.
    chosen_on
        ``"out-of-fold"`` or ``"validation"``.
    seen
        What was said of those images, with the temperature: for whoever chooses again.
    """

    temperature: float
    threshold: Threshold | None
    chosen_on: str
    seen: Predictions | None = field(default=None, compare=False)


class Fitted(Protocol):
    """A trained classifier, still in training's own form."""

    choices: Choices
    history: Sequence[Mapping[str, Any]]
    details: Mapping[str, Any]

    @property
    def features(self) -> Features | None:
        """Of all images by a frozen network; None where the whole network learned."""
        ...

    def logits(self, dataset: Dataset) -> NDArray[np.float64]:
        """Return float64 of shape (n_samples, n_classes), before the temperature."""
        ...

    def weights(self) -> bytes:
        """Return the trained network's weights, head included, as safetensors."""
        ...

    def witness(self, dataset: Dataset, n_images: int) -> tuple[Dataset, NDArray[np.float64]]:
        """Return what the torch network itself says of at least n images, or all if there are fewer.

        Returns
        -------
        images
            The dataset's images that it was asked about.
        y_prob
            float64 of shape (len(images), n_classes).
        """
        ...

    def graph(self, class_names: Sequence[str]) -> "onnx.ModelProto":
        """Return the whole classifier as ONNX, temperature included; the names go into its metadata."""
        ...


class Learner(Protocol):
    """A way of training: frozen features or fine-tuning."""

    needs_val: bool

    def prepare(self, dataset: Dataset) -> Dataset:
        """Return the dataset hashed and without its unreadable files."""
        ...

    def learn(self, train: Dataset, val: Dataset | None, name: str) -> Fitted:
        """Train on `train`; `name` tells folds apart."""
        ...


def choose(logits: NDArray[np.float64], dataset: Dataset, config: TrainConfig, chosen_on: str) -> Choices:
    """Fit the temperature and, for two classes, choose the threshold."""
    y_true = dataset.targets
    temperature = fit_temperature(logits, y_true)
    seen = predictions(logits, dataset, temperature)
    threshold = None
    if len(dataset.class_names) == 2:
        positive = positive_class(dataset.class_names, config)
        column = dataset.class_names.index(positive)
        score = seen.y_prob[:, column]
        value = choose_threshold(y_true == column, score, target_sensitivity=config.target_sensitivity)
        target = config.target_sensitivity
        rule = "Youden's index" if target is None else f"sensitivity of at least {target:g}"
        threshold = Threshold(float(value), positive, chosen_on, rule)
    return Choices(float(temperature), threshold, chosen_on, seen)


def evenly(dataset: Dataset, n: int) -> Dataset:
    """Return n samples spread evenly over the dataset, and so over its classes; all if there are fewer."""
    return dataset.subset(np.unique(np.linspace(0, len(dataset) - 1, min(n, len(dataset))).round()))


def check_decision(class_names: Sequence[str], config: TrainConfig) -> None:
    """Raise before anything is computed if the settings of a two-class decision cannot be used.

    Raises
    ------
    ConfigError
        If there are not two classes, or `positive` is none of them, or `target_sensitivity` is none.
    """
    target = config.target_sensitivity
    if len(class_names) == 2:
        positive_class(class_names, config)
    elif config.positive is not None or target is not None:
        raise ConfigError(
            f"positive and target_sensitivity are for two classes, and there are {len(class_names)}: "
            f"{', '.join(class_names)}; join classes with --merge, or leave them out"
        )
    if target is not None and not 0 < target <= 1:
        raise ConfigError(f"target_sensitivity is {target!r}; it must be above 0, at most 1")


def positive_class(class_names: Sequence[str], config: TrainConfig) -> str:
    """Return the class whose finding is "positive": as configured, else the last in sorted order.

    Raises
    ------
    ConfigError
        If the configured name is not a class.
    """
    if config.positive is None:
        return class_names[-1]
    if config.positive not in class_names:
        raise ConfigError(f"positive is {config.positive!r}; the classes are {', '.join(class_names)}")
    return config.positive


def predictions(logits: NDArray[np.float64], dataset: Dataset, temperature: float) -> Predictions:
    """Return what logits of shape (n_samples, n_classes) say about a labelled dataset."""
    return Predictions(
        sample_ids=tuple(sample.id for sample in dataset.samples),
        y_true=dataset.targets,
        y_prob=softmax(logits, temperature),
        class_names=dataset.class_names,
        groups=dataset.groups,
    )
