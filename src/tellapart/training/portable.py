"""Export a trained model: a copy of its bundle, or an int8 one that is proved to agree with it."""

import csv
import json
import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from tellapart.bundle import MODEL_FILE, SPLIT_FILE, WEIGHTS_FILE, Bundle
from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError, DataError, ExportError
from tellapart.inference import Classifier
from tellapart.progress import SILENT, Progress
from tellapart.records import Sample
from tellapart.training.fitted import evenly
from tellapart.training.model_card import render_model_card

N_CALIBRATION = 200
N_CHECK = 1000
MIN_AGREEMENT = 0.98


def export(
    bundle: Bundle,
    out: Path,
    *,
    precision: Literal["fp32", "int8"] = "fp32",
    data: Dataset | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> Bundle:
    """Write a portable copy of a bundle.

    Parameters
    ----------
    precision
        ``"fp32"`` copies; ``"int8"`` quantises, calibrated on training images.
    data
        Labelled images to calibrate and check with; None takes the run's own training and
        validation images.
    force
        Keep an int8 model whose agreement is too low.

    Raises
    ------
    BundleError
        If the model or its weights are damaged.
    ConfigError
        If `out` exists already, or an int8 model is to be quantised again.
    DataError
        If images are needed and not found.
    ExportError
        If the int8 model's most probable class agrees on under 98 % of the checked images.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty; choose another --out")
    if precision == "fp32":
        files = [name for name in (MODEL_FILE, WEIGHTS_FILE) if (bundle.folder / name).is_file()]
        for name in files:
            bundle.check(name)
        out.mkdir(parents=True, exist_ok=True)
        for name in files:
            shutil.copyfile(bundle.folder / name, out / name)
        return Bundle.write(out, bundle.card, readme=render_model_card(bundle.card))
    if bundle.card.precision != "fp32":
        raise ConfigError(f"{bundle.folder} is {bundle.card.precision} already; export from the fp32 model")
    return _export_int8(bundle, out, data, force, progress)


def _export_int8(bundle: Bundle, out: Path, data: Dataset | None, force: bool, progress: Progress) -> Bundle:
    from tellapart.training.quantize import agreement, quantize

    calibration, check, checked_on = _images(bundle, data, progress)
    resize = bundle.card.preprocessing
    pixels = calibration.pixels(resize)
    progress.say(f"calibrating on {len(pixels)} images")
    out.mkdir(parents=True, exist_ok=True)
    try:
        quantize(bundle.model_path, np.array_split(pixels, -(-len(pixels) // 8)), out / MODEL_FILE)
        quantised = Bundle(out, replace(bundle.card, precision="int8"))
        reference = Classifier(bundle).predict_dataset(check, progress=progress)
        result = Classifier(quantised).predict_dataset(check, progress=progress)
        agreed = agreement(reference.y_prob, result.y_prob)
        accuracies = [float((p.y_pred == p.y_true).mean()) for p in (reference, result)]
        if agreed < MIN_AGREEMENT and not force:
            raise ExportError(
                f"the int8 model agrees with the fp32 one on {agreed:.1%} of {len(check)} images, "
                f"under {MIN_AGREEMENT:.0%}; keep fp32, or --force to have it all the same"
            )
    except BaseException:
        shutil.rmtree(out)
        raise
    card = replace(
        quantised.card,
        quantisation={
            "n_calibration": len(pixels),
            "n_checked": len(check),
            "checked_on": checked_on,
            "top1_agreement": agreed,
            "accuracy_fp32": accuracies[0],
            "accuracy_int8": accuracies[1],
            "max_difference": float(np.abs(reference.y_prob - result.y_prob).max()),
        },
    )
    return Bundle.write(out, card, readme=render_model_card(card))


def _images(bundle: Bundle, data: Dataset | None, progress: Progress) -> tuple[Dataset, Dataset, str]:
    """Return images to calibrate with, others to check on, and what the latter are."""
    train, val = _run_images(bundle, progress) if data is None else (data.verified(progress=progress), None)
    if val is not None and len(train) and len(val):
        return evenly(train, N_CALIBRATION), evenly(val, N_CHECK), "validation images"
    if len(train) < 2:
        raise DataError(f"int8 needs two readable images or more to calibrate and check; found {len(train)}")
    half = min(N_CALIBRATION, len(train) // 2)
    calibration = evenly(train, half)
    chosen = {sample.id for sample in calibration.samples}
    rest = train.subset(i for i, sample in enumerate(train.samples) if sample.id not in chosen)
    whose = "training" if data is None else "given"
    return calibration, evenly(rest, N_CHECK), f"{whose} images that did not calibrate"


def _run_images(bundle: Bundle, progress: Progress) -> tuple[Dataset, Dataset]:
    """Return the run's training and validation images, as far as they are still where they were."""
    run = bundle.folder.parent
    if not (run / SPLIT_FILE).is_file() or not (run / "run.json").is_file():
        raise DataError(
            f"int8 needs images to calibrate with, and {bundle.folder} is not in a run folder; "
            "give labelled ones with --data"
        )
    try:
        root = Path(json.loads((run / "run.json").read_text(encoding="utf-8"))["data"]["root"])
        with (run / SPLIT_FILE).open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] != "test"]
        places = [_find(root, row["path"]) for row in rows]
        samples = tuple(
            Sample(row["path"], place, row["label"], row["split"] or "train")
            for row, place in zip(rows, places, strict=True)
            if place is not None
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise DataError(f"{run} is damaged ({exc!r}); give labelled images with --data") from exc
    if len(samples) < len(rows):
        gone = f"{len(rows) - len(samples)} of the run's {len(rows)} images"
        if not samples:
            raise DataError(f"{gone} are no longer at {root}; put them back, or give others with --data")
        progress.say(f"{gone} are not found at {root} and left out")
    dataset = Dataset(samples, bundle.card.class_names, (), root)
    return dataset.where_split("train"), dataset.where_split("val")


def _find(root: Path, sample_id: str) -> Path | None:
    """Return where an image lies: ids are in Unicode's form NFC, names on disk may be in NFD."""
    forms = (root / unicodedata.normalize(form, sample_id) for form in ("NFC", "NFD"))
    return next((path for path in forms if path.is_file()), None)
