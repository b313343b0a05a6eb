"""What a client is told about one image."""

from typing import Any, Protocol

import numpy as np

from tellapart.bundle import Card
from tellapart.records import decide, refers
from tellapart.serving.batcher import Probabilities


class Answering(Protocol):
    """What answers: a `ServedModel`, or the `Classifier` that it runs."""

    @property
    def card(self) -> Card:
        """The bundle's card."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        ...


def decided(model: Answering, y_prob: Probabilities) -> int:
    """Return the index of the class that the model says: for two classes by the bundle's threshold."""
    return int(decide(y_prob[None], model.class_names, model.card.threshold)[0])


def model_answer(
    model: Answering,
    y_prob: Probabilities,
    *,
    top_k: int | None = None,
    threshold: float | None = None,
    probabilities: bool = True,
) -> dict[str, Any]:
    """Return the JSON object for one image.

    Parameters
    ----------
    y_prob
        float64 of shape (n_classes,).
    top_k
        How many classes, most probable first, to list under ``top``.
    threshold
        The model abstains where the probability of its label is below; and, whatever this says, in the band
        of its own threshold in which a person is to decide.
    probabilities
        Whether to list every class.
    """
    index = decided(model, y_prob)
    answer: dict[str, Any] = {"label": model.class_names[index], "probability": float(y_prob[index])}
    if probabilities:
        answer["probabilities"] = dict(zip(model.class_names, y_prob.tolist(), strict=True))
    is_unsure = threshold is not None and answer["probability"] < threshold
    answer["abstained"] = is_unsure or refers(y_prob, model.class_names, model.card.threshold)
    if top_k is not None:
        order = np.argsort(-y_prob, kind="stable")[:top_k]
        answer["top"] = [{"label": model.class_names[i], "probability": float(y_prob[i])} for i in order]
    return answer
