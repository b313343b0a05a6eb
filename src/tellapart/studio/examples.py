"""Try an image, and keep it as a new example if the answer is wrong."""

import base64
import binascii
import csv
import hashlib
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path, PurePath
from threading import Lock
from typing import TYPE_CHECKING

from PIL import Image

from tellapart.bundle import CARD_FILE
from tellapart.data.files import write_atomically
from tellapart.data.images import ACCEPTED_FORMATS, load_pixels, thumbnail
from tellapart.errors import ConfigError, UnreadableImage
from tellapart.inference import Classifier
from tellapart.serving.answers import model_answer
from tellapart.serving.image_header import TooManyPixels, check_header
from tellapart.serving.models import find_bundle
from tellapart.serving.settings import Settings
from tellapart.studio.data_urls import data_url
from tellapart.studio.jobs import stamp
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.shelf import RECORD, StoredRun

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk

MAX_BYTES = 18_000_000
"""Of one image file, before anything of it is decoded: what a request of 25 MB holds in base64."""

MOST_IMAGES = 32

THUMBNAIL_PX = 320

LIST = "examples.csv"
COLUMNS = ("path", "label", "when", "who", "model", "answer", "probability", "name")
"""A manifest that ``tellapart train`` reads: what was tried, and what the model said of it."""

_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tiff", "BMP": ".bmp"}

_writing = Lock()


def try_images(desk: "Desk", arguments: Arguments) -> Json:
    """Answer images as a service with that run's model would; nothing is stored.

    Arguments are ``images`` (each ``{"base64", "name"}``) and ``run``, by default the first with a model.

    Returns
    -------
    dict
        As ``POST /v1/predict`` answers: ``model``, ``version``, and ``predictions`` with ``index``, ``name``,
        ``label``, ``probability``, ``probabilities``, ``abstained``, or ``error`` and ``status``. Besides,
        ``thumbnail`` of each as a data URL, ``threshold`` (of a model with two classes), ``models`` to
        choose from, and ``class_names`` to correct an answer with.
    """
    models = _models(desk)
    run = _chosen(models, arguments)
    classifier = _classifier(run)
    images = arguments.objects("images", [])
    if len(images) > MOST_IMAGES:
        raise ConfigError(f"{len(images)} images at once; give at most {MOST_IMAGES}")
    threshold = classifier.card.threshold
    return {
        "model": run.name,
        "version": classifier.bundle.version,
        "predictions": [{"index": k, **_answer(classifier, image)} for k, image in enumerate(images)],
        "threshold": None
        if threshold is None
        else {"value": threshold.value, "positive": threshold.positive, "rule": threshold.rule},
        "models": list(models),
        "class_names": sorted({*classifier.class_names, *desk.catalog.class_names}),
    }


def keep_example(desk: "Desk", arguments: Arguments) -> Json:
    """Keep an image that was answered wrongly, byte for byte, with what it is said to be.

    Arguments are ``base64``, ``name``, ``label`` and ``run``. The file is named by its content, so that the
    same image is kept once: a second time it moves to the class that is named last.

    Returns
    -------
    dict
        ``path``, ``n`` (examples kept so far), ``moved_from`` (a class, or None), and ``how`` to train with
        them, after "to train with them,".
    """
    run = _chosen(_models(desk), arguments)
    classifier = _classifier(run)
    label = _folder_name(arguments.text("label"))
    image = {"base64": arguments.text("base64"), "name": arguments.text("name", "")}
    content = _content(image)
    answer = _answer(classifier, image)
    if "error" in answer:
        raise UnreadableImage(answer["error"])
    known = {*classifier.class_names, *desk.catalog.class_names}
    if label not in known:
        raise ConfigError(f"{label!r} is no class here; known: {', '.join(sorted(known))}")
    sha256 = hashlib.sha256(content).hexdigest()
    place = f"{label}/{sha256[:16]}{_suffix(content)}"
    with _writing:
        rows = _rows(desk.examples / LIST)
        before = [row for row in rows if PurePath(row["path"]).stem == sha256[:16]]
        rows = [row for row in rows if row not in before]
        rows.append(
            {
                "path": place,
                "label": label,
                "when": datetime.now(UTC).isoformat(timespec="seconds"),
                "who": desk.actor,
                "model": f"{run.name} {classifier.bundle.version}",
                "answer": answer["label"],
                "probability": repr(answer["probability"]),
                "name": image["name"],
            }
        )
        # The image first: a line never names a file that is not there.
        write_atomically(desk.examples / place, content)
        _write_rows(desk.examples / LIST, rows)
        moved = [row for row in before if row["path"] != place]
        for row in moved:
            (desk.examples / row["path"]).unlink(missing_ok=True)
    return {
        "path": str((desk.examples / place).absolute()),
        "n": len(rows),
        "moved_from": moved[0]["label"] if moved else None,
        "how": _how(desk),
    }


OPERATIONS: dict[str, Operation] = {
    "try": Operation(try_images),
    "keep_example": Operation(keep_example, writes=True),
}


def _how(desk: "Desk") -> str:
    examples, data = desk.examples.absolute(), desk.data.absolute()
    if data.is_dir():
        return f"copy the folders of {examples} into {data} and train again"
    return f"add the lines of {examples / LIST} to {data}, with paths as seen from there, and train again"


def _models(desk: "Desk") -> dict[str, StoredRun]:
    """Return the runs that have a model: those that the user named first, then the latest first."""
    given = {folder.resolve() for folder in desk.shelf.given}
    runs = [run for name in desk.shelf.names() if (run := desk.shelf.run(name)).card is not None]

    def order(run: StoredRun) -> tuple[bool, int]:
        return run.folder.resolve() not in given, -(stamp(run.folder / RECORD) or (0, 0))[0]

    return {run.name: run for run in sorted(runs, key=order)}


def _chosen(models: Mapping[str, StoredRun], arguments: Arguments) -> StoredRun:
    if not models:
        raise ConfigError("there is no trained model yet; train one first, in the view Training")
    if not arguments.has("run"):
        return next(iter(models.values()))
    name = arguments.text("run")
    if name not in models:
        raise ConfigError(f"no run with a model is called {name!r}; known here: {', '.join(models)}")
    return models[name]


def _classifier(run: StoredRun) -> Classifier:
    return _opened(run.folder, stamp(run.folder / "model" / CARD_FILE))


@lru_cache(maxsize=2)
def _opened(folder: Path, state: tuple[int, int] | None) -> Classifier:
    """Open a model; anew when `state` changes, because somebody chose another threshold."""
    return Classifier(find_bundle(folder))


def _answer(classifier: Classifier, image: Json) -> Json:
    """Return what a service would say of one image, and a small picture of it."""
    named = {"name": str(image.get("name") or "")}
    try:
        content = _content(image)
        # The service's own limits, from the header alone: a small file may claim a huge picture.
        check_header(content, Settings.max_pixels)
        pixels = load_pixels(content, classifier.card.preprocessing)
        small = thumbnail(content, THUMBNAIL_PX)
    except (UnreadableImage, ConfigError) as exc:
        return {**named, "error": str(exc), "status": 413 if isinstance(exc, TooManyPixels) else 400}
    y_prob = classifier.predict_proba(pixels[None], threads=1)[0]
    return {**named, **model_answer(classifier, y_prob), "thumbnail": data_url(small, "jpeg")}


def _content(image: Json) -> bytes:
    """Return the bytes of an image that came as base64.

    Raises
    ------
    ConfigError
        If they are none, or too many.
    """
    text = image.get("base64")
    if not isinstance(text, str) or not text:
        raise ConfigError('an image is {"base64": "…", "name": "…"}')
    if len(text) * 3 // 4 > MAX_BYTES:
        raise ConfigError(f"larger than {MAX_BYTES:,} bytes: shrink it first")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ConfigError(f"the image is not base64 ({exc})") from exc


def _suffix(content: bytes) -> str:
    with Image.open(io.BytesIO(content), formats=ACCEPTED_FORMATS) as opened:
        return _SUFFIXES.get(opened.format or "", f".{(opened.format or 'img').lower()}")


def _folder_name(label: str) -> str:
    """Return a class's name if a folder can have it.

    Raises
    ------
    ConfigError
        If it would lead elsewhere, or be hidden.
    """
    if not label.strip() or label.startswith(".") or any(c in "/\\:\0" or not c.isprintable() for c in label):
        raise ConfigError(f"the class {label!r} cannot be the name of a folder; keep the image by hand")
    return label


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: row.get(name) or "" for name in COLUMNS} for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as exc:
        raise ConfigError(f"{path} cannot be read ({exc}); move it away to begin a new list") from exc


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode("utf-8", "backslashreplace"))
