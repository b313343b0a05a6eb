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
import mmap
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tellapart.data.files import write_atomically
from tellapart.data.images import Resize
from tellapart.errors import BundleError
from tellapart.records import Threshold

FORMAT = 2
"""Version of the bundle's layout; raised only when older readers could not understand it.

2: a threshold may have a band in which a person decides, and tells who chose it.
"""

_READABLE = (1, 2)

MODEL_FILE, WEIGHTS_FILE, CARD_FILE = "model.onnx", "weights.safetensors", "model.json"
SPLIT_FILE = "split.csv"
"""Beside the bundle in a run folder: which image was used for what."""

VALIDATION_FILE = "validation.csv"
"""Beside the bundle in a run folder: what the model says of the images on which its threshold was chosen."""

VERSION_DIGITS = 12
"""Hex digits of the model's SHA-256 in a version."""

_EXTERNAL_DATA = re.compile(rb"[\x08\x00]location")
"""In an ONNX file: the key of a tensor that lies in another file, after its length of 8 in any encoding."""


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
    reference
        Statistics of validation images and of the answers to them, against which a service measures
        drift; None in bundles that are older than it.
    sha256
        Hex digests of the model and the weights as they were written, by file name; empty in bundles
        that are older than it.
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
    reference: Mapping[str, Any] | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the text of ``model.json``."""
        values = {"format": FORMAT, **asdict(self)}
        values["checksum"] = _checksum(values)
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Card":
        """Read the text of ``model.json``.

        Raises
        ------
        BundleError
            If it is not JSON, of a newer format, lacks something, or was changed after it was written.
        """
        try:
            values = json.loads(text)
            checksum = values.pop("checksum", None)
            if values["format"] not in _READABLE:
                raise BundleError(
                    f"model.json has format {values['format']}, this tellapart reads {FORMAT}; update it"
                )
            # Bundles older than the checksum have none.
            if checksum is not None and checksum != _checksum(values):
                raise BundleError(
                    "model.json is damaged: it was changed after it was written; copy the whole bundle again"
                )
            del values["format"]
            values["class_names"] = tuple(values["class_names"])
            values["preprocessing"] = Resize(**values["preprocessing"])
            values["threshold"] = _threshold(values["threshold"]) if values["threshold"] else None
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            raise BundleError(f"model.json is damaged: {exc!r}") from exc


def _threshold(values: Mapping[str, Any]) -> Threshold:
    band = values.get("band")
    return Threshold(**{**values, "band": None if band is None else (float(band[0]), float(band[1]))})


def _checksum(values: Mapping[str, Any]) -> str:
    """Return the digest of a card's values, however they are laid out in a text."""
    plain = json.loads(json.dumps(values))  # as a reader will find them: tuples are lists, keys are text
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


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
        return _sha256(self.model_path)

    @property
    def version(self) -> str:
        """By which services name this model: the beginning of its digest, as the card has it if it does."""
        return (self.card.sha256.get(MODEL_FILE) or self.model_sha256)[:VERSION_DIGITS]

    def check(self, name: str) -> None:
        """Compare a file with the card.

        Raises
        ------
        BundleError
            If it is missing, or not the file that was written with the card.
        """
        path = self.folder / name
        # A link could lead to any file of this machine, and would show what is in it by its errors.
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{self.folder} has no file {name} of its own; copy the whole bundle again")
        if name in self.card.sha256 and _sha256(path) != self.card.sha256[name]:
            raise BundleError(
                f"{path} is damaged: it was changed after it was written; copy the whole bundle again"
            )

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
        if path.is_file():
            raise BundleError(
                f"{path} is a file, and a model is a folder with {CARD_FILE} and {MODEL_FILE}; pickled "
                "models (.pt, .pth, .pkl) are never opened, because opening one runs what is in it"
            )
        for folder in (path, path / "model"):
            if (folder / CARD_FILE).is_file():
                break
        else:
            raise BundleError(
                f"no model at {path}: a model is a folder with {CARD_FILE}, or a run folder with "
                "model/ in it; `tellapart train DATA --out RUN` makes one"
            )
        try:
            return cls._load(folder)
        except UnicodeDecodeError as exc:
            raise BundleError(f"{folder / CARD_FILE} is damaged: not UTF-8") from exc
        except OSError as exc:
            raise BundleError(f"{folder} cannot be read: {exc.strerror or exc}") from exc

    @classmethod
    def _load(cls, folder: Path) -> "Bundle":
        if not (folder / MODEL_FILE).is_file():
            raise BundleError(f"{folder} has {CARD_FILE} but no {MODEL_FILE}; copy the whole folder")
        if (folder / CARD_FILE).is_symlink():
            raise BundleError(f"{folder / CARD_FILE} is a link; copy the whole bundle")
        bundle = cls(folder, Card.from_json((folder / CARD_FILE).read_text(encoding="utf-8")))
        bundle.check(MODEL_FILE)
        if _has_external_data(bundle.model_path):
            raise BundleError(
                f"{bundle.model_path} keeps tensors in other files (ONNX external data), which a bundle "
                "never does; make it again with `tellapart export`"
            )
        return bundle

    @classmethod
    def write(cls, folder: Path, card: Card, *, readme: str) -> "Bundle":
        """Write the card and the readme beside a model that is already in `folder`."""
        files = [folder / name for name in (MODEL_FILE, WEIGHTS_FILE)]
        digests = {path.name: _sha256(path) for path in files if path.is_file()}
        return cls(folder, card).described(replace(card, sha256=digests), readme=readme)

    def described(self, card: Card, *, readme: str) -> "Bundle":
        """Write another card and readme, each in one step; model and weights stay as they are."""
        write_atomically(self.folder / "README.md", readme.encode())
        # The card comes last: a folder with a card is complete.
        write_atomically(self.folder / CARD_FILE, card.to_json().encode("utf-8", "backslashreplace"))
        return replace(self, card=card)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has_external_data(model: Path) -> bool:
    """Say whether an ONNX file names other files, without a parser for it.

    onnxruntime would read them if they lie beside the model, where no checksum covers them.
    """
    if model.stat().st_size == 0:
        return False
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _EXTERNAL_DATA.search(content) is not None
