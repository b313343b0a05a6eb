"""Export a trained model: a copy of its bundle, or an int8 one that is proved to agree with it."""

import csv
import json
import shutil
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
        out.mkdir(parents=True, exist_ok=True)
        for file in (MODEL_FILE, WEIGHTS_FILE):
            if (bundle.folder / file).is_file():
                shutil.copyfile(bundle.folder / file, out / file)
        return Bundle.write(out, bundle.card, readme=render_model_card(bundle.card))
    if bundle.card.precision != "fp32":
        raise ConfigError(f"{bundle.folder} is {bundle.card.precision} already; export from the fp32 model")
    return _export_int8(bundle, out, data, force, progress)


def _export_int8(bundle: Bundle, out: Path, data: Dataset | None, force: bool, progress: Progress) -> Bundle:
    from tellapart.training.quantize import agreement, quantize

    calibration, check, checked_on = _images(bundle, data)
    resize = bundle.card.preprocessing
    pixels = calibration.pixels(resize)
    progress.say(f"calibrating on {len(pixels)} training images")
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


def _images(bundle: Bundle, data: Dataset | None) -> tuple[Dataset, Dataset, str]:
    """Return images to calibrate with, others to check on, and what the latter are."""
    train, val = (data.verified(), None) if data is not None else _run_images(bundle)
    if val is not None and len(val):
        return evenly(train, N_CALIBRATION), evenly(val, N_CHECK), "validation images"
    half = min(N_CALIBRATION, len(train) // 2)
    calibration = evenly(train, half)
    chosen = {sample.id for sample in calibration.samples}
    rest = train.subset(i for i, sample in enumerate(train.samples) if sample.id not in chosen)
    return calibration, evenly(rest, N_CHECK), "training images that did not calibrate"


def _run_images(bundle: Bundle) -> tuple[Dataset, Dataset | None]:
    """Return the run's training and validation images, from its split.csv and run.json."""
    run = bundle.folder.parent
    if not (run / SPLIT_FILE).is_file() or not (run / "run.json").is_file():
        raise DataError(
            f"int8 needs images to calibrate with, and {bundle.folder} is not in a run folder; "
            "give labelled ones with --data"
        )
    root = Path(json.loads((run / "run.json").read_text(encoding="utf-8"))["data"]["root"])
    with (run / SPLIT_FILE).open(encoding="utf-8", newline="") as file:
        samples = tuple(
            Sample(row["path"], root / row["path"], row["label"], row["split"] or "train")
            for row in csv.DictReader(file)
        )
    gone = [sample.id for sample in samples if sample.split != "test" and not sample.path.is_file()]
    if gone:
        raise DataError(
            f"{len(gone)} of the run's images are no longer at {root}, the first being {gone[0]}; "
            "put them back, or give labelled images with --data"
        )
    dataset = Dataset(samples, bundle.card.class_names, (), root)
    return dataset.where_split("train"), dataset.where_split("val")
