"""The whole pipeline on images that it draws itself: offline, in a few minutes."""

from pathlib import Path
from typing import TYPE_CHECKING

from tellapart.data.dataset import Dataset
from tellapart.data.lesions import Planted, write_lesions
from tellapart.errors import ConfigError
from tellapart.progress import SILENT, Progress

if TYPE_CHECKING:
    from tellapart.training.run import Run

SYNTHETIC = "The images are synthetic: drawn by a program. Nothing here says anything about real lesions."


def run_demo(
    out: Path,
    *,
    n_lesions: int = 120,
    difficulty: float = 0.5,
    seed: int = 0,
    image_size: int | None = None,
    progress: Progress = SILENT,
) -> tuple["Run", Planted]:
    """Draw a small set of lesion-like images and train, evaluate and export a classifier of them.

    Parameters
    ----------
    out
        New or empty folder; gets ``images/`` and ``run/``.
    n_lesions, difficulty, seed
        See `tellapart.data.lesions.write_lesions`.
    image_size
        Edge in pixels at which the network sees them; None takes its own.

    Raises
    ------
    ConfigError
        If `out` is not empty.
    """
    from tellapart.api import train
    from tellapart.training.config import TrainConfig
    from tellapart.training.run import Notes

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty; choose another --out")
    progress.say(SYNTHETIC)
    progress.say(f"drawing {n_lesions} lesions into {out / 'images'}")
    planted = write_lesions(out / "images", n_lesions=n_lesions, difficulty=difficulty, seed=seed)
    notes = Notes(
        command="tellapart demo",
        intended_use=f"To show what tellapart does. {SYNTHETIC}",
        labelled_by="The program that drew them; one label is wrong on purpose.",
    )
    dataset = Dataset.from_manifest(planted.manifest)
    config = TrainConfig(mode="features", image_size=image_size, seed=seed)
    run = train(dataset, config, out / "run", notes=notes, progress=progress)
    return run, planted
