"""The model bundle: a folder that holds everything a trained classifier is, and no pickle.

::

    model.onnx            uint8 RGB pixels in, probabilities out
    weights.safetensors   the same network's weights, to train on from
    model.json            the card: classes, preprocessing, threshold, provenance
    README.md             the card for people
"""

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tellapart.data.files import write_atomically
from tellapart.data.images import Resize
from tellapart.errors import BundleError
from tellapart.records import Threshold

FORMAT = 1
"""Version of the bundle's layout; raised only when older readers could not understand it."""

MODEL_FILE, WEIGHTS_FILE, CARD_FILE = "model.onnx", "weights.safetensors", "model.json"
SPLIT_FILE = "split.csv"
"""Beside the bundle in a run folder: which image was used for what."""


@dataclass(frozen=True)
class Card:
    """What ``model.json`` says.

    Attributes
    ----------
    class_names
        In the order of the model's probabilities.
    preprocessing
        How an image becomes the model's square of pixels.
    backbone
        ``name``, ``weights`` (what it started from) and ``weights_licence``.
    config
        The training settings.
    temperature
        By which the logits are divided, inside the model.
    threshold
        For two classes, where "positive" begins; None for more.
    parity
        ``n_images`` and ``max_difference`` in probability between this model and the trained one.
    dataset
        ``fingerprint``, ``n_samples`` and ``counts`` per class of the training images.
    versions
        Of everything that took part.
    precision
        ``"fp32"`` or ``"int8"``.
    figures
        Headline figures on the test set, each ``{"value", "ci95"}``.
    quantisation
        For int8: agreement with the fp32 model and change of accuracy.
    """

    class_names: tuple[str, ...]
    preprocessing: Resize
    backbone: Mapping[str, str]
    config: Mapping[str, Any]
    temperature: float
    threshold: Threshold | None
    parity: Mapping[str, float]
    dataset: Mapping[str, Any]
    versions: Mapping[str, str]
    precision: str = "fp32"
    figures: Mapping[str, Any] = field(default_factory=dict)
    quantisation: Mapping[str, Any] | None = None

    def to_json(self) -> str:
        """Return the text of ``model.json``."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Card":
        """Read the text of ``model.json``.

        Raises
        ------
        BundleError
            If it is not JSON, of a newer format, or lacks something.
        """
        try:
            values = json.loads(text)
            found = values.pop("format")
            if found != FORMAT:
                raise BundleError(f"model.json has format {found}, this tellapart reads {FORMAT}; update it")
            values["class_names"] = tuple(values["class_names"])
            values["preprocessing"] = Resize(**values["preprocessing"])
            values["threshold"] = Threshold(**values["threshold"]) if values["threshold"] else None
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise BundleError(f"model.json is damaged: {exc!r}") from exc


@dataclass(frozen=True)
class Bundle:
    """A bundle's folder and its card."""

    folder: Path
    card: Card

    @property
    def model_path(self) -> Path:
        """Where the ONNX model lies."""
        return self.folder / MODEL_FILE

    @property
    def weights_path(self) -> Path:
        """Where the trained network's weights lie."""
        return self.folder / WEIGHTS_FILE

    @property
    def model_sha256(self) -> str:
        """Hex digest of the ONNX model."""
        with self.model_path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def trained_on(self) -> frozenset[str]:
        """Return the content hashes of the images that trained or tuned this model.

        Only a run folder knows them (its ``split.csv``); empty for a bundle on its own.
        """
        split = self.folder.parent / SPLIT_FILE
        if not split.is_file():
            return frozenset()
        with split.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("split") != "test"]
        # Another program's split.csv may lie there and know no hashes.
        return frozenset(row["sha256"] for row in rows if row.get("sha256"))

    @classmethod
    def load(cls, model: Path | str) -> "Bundle":
        """Open MODEL: a bundle, or a run folder that holds one.

        Raises
        ------
        BundleError
            If there is none, or it is damaged or incomplete.
        """
        path = Path(model)
        for folder in (path, path / "model"):
            if (folder / CARD_FILE).is_file():
                break
        else:
            raise BundleError(
                f"no model at {path}: a model is a folder with {CARD_FILE}, or a run folder with "
                "model/ in it; `tellapart train DATA --out RUN` makes one"
            )
        if not (folder / MODEL_FILE).is_file():
            raise BundleError(f"{folder} has {CARD_FILE} but no {MODEL_FILE}; copy the whole folder")
        try:
            text = (folder / CARD_FILE).read_text(encoding="utf-8")
        except UnicodeDecodeError as exc:
            raise BundleError(f"{folder / CARD_FILE} is damaged: not UTF-8") from exc
        return cls(folder, Card.from_json(text))

    @classmethod
    def write(cls, folder: Path, card: Card, *, readme: str) -> "Bundle":
        """Write the card and the readme beside a model that is already in `folder`."""
        write_atomically(folder / "README.md", readme.encode())
        # The card comes last: a folder with a card is complete.
        write_atomically(folder / CARD_FILE, card.to_json().encode("utf-8", "backslashreplace"))
        return cls(folder, card)
