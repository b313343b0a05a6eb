"""What the client returns, and how the service's JSON becomes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tellapart.client.images import Source


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the service says about one image.

    Attributes
    ----------
    source
        The path or address as it was given; ``"image 3"`` for bytes and pixels.
    label, probability
        The decided class and its probability; None where there is an `error`.
    probabilities
        Of every class.
    abstained
        Whether a person is to decide: the winning probability lies under the threshold that was asked for,
        or in the band that was stored with the model.
    top
        The most probable classes, best first, as many as were asked for.
    model, version
        What answered.
    error
        Why there is no answer, else None.
    """

    source: str
    label: str | None = None
    probability: float | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    abstained: bool = False
    top: tuple[Mapping[str, Any], ...] = ()
    model: str = ""
    version: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the service's process lives, and whether it wants requests now; `detail` says why not."""

    live: bool
    ready: bool
    detail: str = ""


def predictions(
    answer: Mapping[str, Any], batch: Sequence[Source], unreadable: Mapping[int, str]
) -> list[Prediction]:
    """Return one prediction per source, in order; `unreadable` were not sent, for these reasons.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        If it is not an answer of ``/v1/predict`` to these images.
    """
    model, version = str(answer["model"]), str(answer["version"])
    given = answer["predictions"]
    sent = [i for i in range(len(batch)) if i not in unreadable]
    found = {i: Prediction(batch[i].name, error=reason) for i, reason in unreadable.items()}
    for i, item in zip(sent, given, strict=True):
        found[i] = _prediction(batch[i].name, item, model, version)
    return [found[i] for i in range(len(batch))]


def _prediction(name: str, item: Mapping[str, Any], model: str, version: str) -> Prediction:
    if "error" in item:
        return Prediction(name, model=model, version=version, error=str(item["error"]))
    return Prediction(
        name,
        label=str(item["label"]),
        probability=float(item["probability"]),
        probabilities=dict(item.get("probabilities", {})),
        abstained=bool(item.get("abstained", False)),
        top=tuple(item.get("top", ())),
        model=model,
        version=version,
    )
