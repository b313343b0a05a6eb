"""A deployment's own copies of the models it serves.

A copy is why training into the original folder, or deleting it, cannot disturb a service.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Literal

from tellapart.bundle import CARD_FILE, MODEL_FILE, Bundle
from tellapart.errors import BundleError
from tellapart.inference import Classifier

KEPT = 2
"""Copies that stay on the disk: the current one, and the one before."""


def usable(model: Path | str, precision: Literal["fp32", "int8"] | None = None) -> Bundle:
    """Return the bundle of a run that was seen to answer.

    Raises
    ------
    BundleError
        If there is none.
    """
    from tellapart.serving.models import find_bundle, try_out

    bundle = find_bundle(Path(model), precision)
    try_out(Classifier(bundle))
    return bundle


class Versions:
    """The copies in ``FOLDER/models``, numbered in the order in which they came."""

    def __init__(self, folder: Path) -> None:
        self.models = folder / "models"

    def add(self, bundle: Bundle) -> Bundle:
        """Copy a bundle and return the copy; nothing is left of half a one.

        Raises
        ------
        BundleError
            If it changed meanwhile.
        """
        version = bundle.version
        self.models.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".", dir=self.models))
        try:
            # The weights to train on from are not needed to answer.
            for name in (MODEL_FILE, CARD_FILE, "README.md"):
                if (bundle.folder / name).is_file():
                    shutil.copyfile(bundle.folder / name, draft / name)
            if Bundle.load(draft).version != version:
                raise BundleError(f"{bundle.folder} is being written; try again when it is complete")
            folder = self.models / f"{self._next_number():04d}-{version}"
            draft.rename(folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return Bundle.load(folder)

    def prune(self, current: Path) -> None:
        """Delete all but the newest copies; never the current one."""
        for folder in self._copies()[:-KEPT]:
            if folder != current:
                shutil.rmtree(folder, ignore_errors=True)

    def _copies(self) -> list[Path]:
        return sorted(path for path in self.models.iterdir() if not path.name.startswith("."))

    def _next_number(self) -> int:
        copies = self._copies()
        return int(copies[-1].name.split("-")[0]) + 1 if copies else 1
