"""Desks for the studio's tests, and asking them as a page does."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pictures import write_class_folders
from tellapart.audit.findings import Finding
from tellapart.data.corrections import as_given
from tellapart.data.dermoscopy import draw_lesion
from tellapart.data.journal import Journal, journal_path
from tellapart.records import Predictions
from tellapart.studio.desk import Desk
from tellapart.studio.operations import perform


def desk_on(data: Path, *, actor: str = "anna", runs: Path | None = None, read_only: bool = False) -> Desk:
    """A desk on a folder of images; its journal is that of every other desk on it."""
    return Desk(
        data=data,
        given=as_given(data),
        journal=Journal(journal_path(data)),
        actor=actor,
        runs=runs or data.parent / "runs",
        read_only=read_only,
    )


def ask(desk: Desk, operation: str, **values: Any) -> dict[str, Any]:
    """What a page gets when it asks."""
    return perform(desk, operation, values)


def until(condition: Callable[[], Any], limit_s: float = 60) -> Any:
    """What a condition gives once it holds."""
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def number(desk: Desk, sample_id: str) -> int:
    """The number of an image."""
    found = desk.catalog.index(sample_id)
    assert found is not None
    return found


def suspect(
    sample_id: str, label: str, suggested: str, own: float, *, neighbours: tuple[tuple[str, str], ...] = ()
) -> Finding:
    """What `tellapart check` says of a label that is likely wrong; neighbours are ids with their labels."""
    near = [
        {"id": name, "label": its, "similarity": 0.9 - k / 10} for k, (name, its) in enumerate(neighbours)
    ]
    details = {
        "label": label,
        "suggested": suggested,
        "probability": {label: own, suggested: round(1 - own, 4)},
        "neighbours": near,
    }
    return Finding("suspected label", "warning", f"{sample_id} looks like {suggested}", (sample_id,), details)


def copies(kind: str, *sample_ids: str, **details: Any) -> Finding:
    """What `tellapart check` says of images that show the same."""
    pairs = [[sample_ids[0], other, 0.97] for other in sample_ids[1:]]
    return Finding(kind, "warning", f"{len(sample_ids)} alike", sample_ids, {"pairs": pairs, **details})


def clinic(root: Path, *, actor: str = "anna") -> Desk:
    """A small clinic's folder, with a given split, and what its check and its run have found.

    Suspected are four labels; one image lies on two sides of the split, one under both classes, and one is
    there three times.
    """
    draw_clinic(root)
    desk = desk_on(root, actor=actor)
    desk.catalog.attach_findings(CLINIC_FINDINGS)
    ids = tuple(sample.id for sample in desk.given.samples if sample.split == "test")
    y_true = np.array([int("malignant" in name) for name in ids])
    p = np.clip(0.2 + 0.6 * y_true + np.linspace(-0.15, 0.15, len(ids)), 0, 1)
    p[0] = 0.93  # a benign one, confidently and wrongly
    predictions = Predictions(ids, y_true, np.stack([1 - p, p], axis=1), ("benign", "malignant"))
    desk.catalog.attach("run-1", predictions, predictions.y_pred)
    return desk


def draw_clinic(root: Path) -> None:
    """Write the images of `clinic`, if they are not there yet."""
    if root.exists():
        return
    rng = np.random.default_rng(5)
    for part, count in (("train", 7), ("test", 4)):
        for name, malignant in (("benign", 0.1), ("malignant", 0.9)):
            folder = root / part / name
            folder.mkdir(parents=True)
            for k in range(count):
                draw_lesion(rng, malignant, 192).save(folder / f"{k:03d}.jpg", quality=90)
    for source, copy in CLINIC_COPIES:
        Image.open(root / source).rotate(180).save(root / copy, quality=80)


def draw_doubles(root: Path) -> Path:
    """Cats and dogs with a given split. It leaks: a cat in training is in the test set too, turned; and a
    dog is called a cat, and three dogs are alike."""
    for seed, part in enumerate(("train", "test")):
        write_class_folders(root / part, {"cat": 6, "dog": 6}, seed=seed)
    turned = Image.open(root / "train" / "cat" / "000.png").rotate(180)
    turned.save(root / "test" / "cat" / "copy.png")
    Image.open(root / "train" / "dog" / "001.png").rotate(180).save(root / "train" / "cat" / "dog.png")
    for name in ("copy", "copy2"):
        again = Image.open(root / "train" / "dog" / "002.png").rotate(180)
        again.save(root / "train" / "dog" / f"{name}.png")
    return root


CLINIC_COPIES = (
    ("train/benign/003.jpg", "train/malignant/scan.jpg"),
    ("train/malignant/004.jpg", "test/malignant/scan.jpg"),
    ("train/benign/005.jpg", "train/benign/scan-1.jpg"),
    ("train/benign/005.jpg", "train/benign/scan-2.jpg"),
)


def _near(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, name.split("/")[1]) for name in names)


CLINIC_FINDINGS = [
    suspect(
        "train/benign/000.jpg",
        "benign",
        "malignant",
        0.04,
        neighbours=_near(*(f"train/malignant/00{k}.jpg" for k in range(4)), "train/benign/002.jpg"),
    ),
    suspect(
        "train/benign/001.jpg",
        "benign",
        "malignant",
        0.11,
        neighbours=_near("train/malignant/005.jpg", "train/benign/004.jpg"),
    ),
    suspect("train/malignant/002.jpg", "malignant", "benign", 0.17, neighbours=_near("train/benign/004.jpg")),
    suspect("train/malignant/006.jpg", "malignant", "benign", 0.31, neighbours=_near("train/benign/006.jpg")),
    copies("conflicting labels", "train/benign/003.jpg", "train/malignant/scan.jpg"),
    copies("leak", "test/malignant/scan.jpg", "train/malignant/004.jpg"),
    copies("near-duplicates", "train/benign/005.jpg", "train/benign/scan-1.jpg", "train/benign/scan-2.jpg"),
]
