"""A small data set of synthetic lesions, with the faults of real ones planted in it.

The pictures come from `tellapart.data.dermoscopy`; no photograph of a person is involved.
"""

import csv
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist

import numpy as np

from tellapart.data.dermoscopy import draw_lesion, invent_lesion
from tellapart.errors import ConfigError

__all__ = ["Planted", "draw_lesion", "write_lesions"]

ABOUT = """# Synthetic lesions

Every picture in this folder was drawn by a program. None shows a person, and none means anything
medically: "benign" and "malignant" are names for two ways of drawing. A classifier trained on these
pictures must not be used on people.

`manifest.csv` lists them. The column `group` is the lesion: several pictures of one lesion belong on the
same side of a split. Age, sex and localization are made up as well.

Planted on purpose, so that you can see how they are found:

- exact copies of a file under another name and another lesion number: {duplicates};
- a malignant lesion filed as benign: {mislabelled};
- a JPEG that was cut off: {broken}.
"""

_LOCALIZATIONS = ("abdomen", "back", "chest", "face", "lower extremity", "scalp", "upper extremity")

_SPREAD = 0.18
"""Standard deviation of the latent `malignant` within a class."""

_COLUMNS = ("path", "label", "group", "age", "sex", "localization")


@dataclass(frozen=True, slots=True)
class Planted:
    """Where the data set lies, and what is wrong with it on purpose.

    Attributes
    ----------
    manifest
        The CSV file; the other paths are POSIX, relative to its folder.
    duplicates
        Copies, byte for byte, of pictures that are listed under another lesion.
    mislabelled
        Pictures of a malignant lesion that are filed and listed as benign.
    broken
        JPEG files that end in the middle.
    """

    manifest: Path
    duplicates: tuple[str, ...]
    mislabelled: tuple[str, ...]
    broken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    """One lesion to draw: what the manifest says about it, and what it looks like."""

    group: str
    label: str
    malignant: float
    n_images: int
    age: int
    sex: str
    localization: str

    def row(self, image: int) -> dict[str, str]:
        """Return the manifest's row of one of its pictures, counted from 1."""
        path = f"{self.label}/{self.group}_{image}.jpg"
        values = (path, self.label, self.group, str(self.age), self.sex, self.localization)
        return dict(zip(_COLUMNS, values, strict=True))


def write_lesions(
    out: Path,
    *,
    n_lesions: int = 120,
    images_per_lesion: tuple[int, int] = (1, 3),
    difficulty: float = 0.5,
    seed: int = 0,
    size_px: int = 256,
) -> Planted:
    """Write ``benign/``, ``malignant/``, ``manifest.csv`` and ``ABOUT.md`` into `out`.

    Parameters
    ----------
    out
        A folder; made if need be.
    n_lesions
        At least 8; two in five are malignant.
    images_per_lesion
        Fewest and most pictures of one lesion, which differ in angle, zoom, light and hair.
    difficulty
        From 0 (the classes hardly overlap) to 1 (they can hardly be told apart).
    seed
        The same seed writes the same bytes with the same version of Pillow.
    size_px
        Edge of the pictures.

    Returns
    -------
    Planted
        The manifest's path, and the three duplicates, one mislabelled and one broken file in it.

    Raises
    ------
    ConfigError
        If an argument is out of its range.
    """
    _check(n_lesions, images_per_lesion, difficulty, size_px)
    rng = np.random.default_rng(seed)
    cases = _invent_cases(rng, n_lesions, images_per_lesion, difficulty)
    misfiled = _misfile_one(cases)
    rows = _write_pictures(rng, out, cases, size_px)
    sound = [row for row in rows if row["group"] != misfiled.group]
    *originals, spoilt = (sound[i] for i in rng.choice(len(sound), 4, replace=False))
    copies = [_copy(out, row, n_lesions + i + 1) for i, row in enumerate(originals)]
    _cut_off(out / spoilt["path"])
    _write_manifest(out / "manifest.csv", rows + copies)
    planted = Planted(
        manifest=out / "manifest.csv",
        duplicates=tuple(row["path"] for row in copies),
        mislabelled=(misfiled.row(1)["path"],),
        broken=(spoilt["path"],),
    )
    _write_about(out / "ABOUT.md", planted)
    return planted


def _check(n_lesions: int, images_per_lesion: tuple[int, int], difficulty: float, size_px: int) -> None:
    if n_lesions < 8:
        raise ConfigError(f"n_lesions is {n_lesions}: at least 8 are needed for two classes")
    if not 1 <= images_per_lesion[0] <= images_per_lesion[1]:
        raise ConfigError(f"images_per_lesion is {images_per_lesion}: give (fewest, most), such as (1, 3)")
    if not 0 <= difficulty <= 1:
        raise ConfigError(f"difficulty is {difficulty}: it goes from 0 (easy) to 1 (hardly possible)")
    if size_px < 32:
        raise ConfigError(f"size_px is {size_px}: at least 32 pixels are needed to draw a lesion")


def _invent_cases(
    rng: np.random.Generator, n_lesions: int, images_per_lesion: tuple[int, int], difficulty: float
) -> list[_Case]:
    """Make up the lesions and their patients."""
    fewest, most = images_per_lesion
    cases = []
    for number, (malignant, latent) in enumerate(_draw_latents(rng, n_lesions, difficulty), start=1):
        case = _Case(
            group=_lesion_id(number),
            label="malignant" if malignant else "benign",
            malignant=latent,
            n_images=int(rng.integers(fewest, most + 1)),
            age=int(np.clip(rng.normal(56 if malignant else 44, 15), 5, 90)),
            sex=str(rng.choice(["female", "male"])),
            localization=str(rng.choice(_LOCALIZATIONS)),
        )
        cases.append(case)
    return cases


def _draw_latents(rng: np.random.Generator, n_lesions: int, difficulty: float) -> list[tuple[bool, float]]:
    """Return (is malignant, latent in [0, 1]) in random order; the classes lie 1 - `difficulty` apart.

    The latents are evenly spaced quantiles of a normal distribution, so that the overlap of the classes
    depends on `difficulty` and hardly on the seed.
    """
    latents = []
    n_malignant = round(0.4 * n_lesions)
    for malignant, count in ((True, n_malignant), (False, n_lesions - n_malignant)):
        centre = 0.5 + (0.5 if malignant else -0.5) * (1 - difficulty)
        normal = NormalDist(centre, _SPREAD)
        quantiles = (normal.inv_cdf((i + 0.5) / count) for i in range(count))
        latents += [(malignant, min(max(quantile, 0.0), 1.0)) for quantile in quantiles]
    return [latents[i] for i in rng.permutation(n_lesions)]


def _misfile_one(cases: list[_Case]) -> _Case:
    """File the most malignant-looking lesion, with one picture, as benign; return it as filed."""
    worst = max((case for case in cases if case.label == "malignant"), key=lambda case: case.malignant)
    misfiled = replace(worst, label="benign", n_images=1)
    cases[cases.index(worst)] = misfiled
    return misfiled


def _write_pictures(
    rng: np.random.Generator, out: Path, cases: list[_Case], size_px: int
) -> list[dict[str, str]]:
    """Draw and save every case; return the manifest's rows."""
    rows = []
    for case in cases:
        lesion = invent_lesion(rng, case.malignant, size_px)
        for image in range(1, case.n_images + 1):
            row = case.row(image)
            path = out / row["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            lesion.photograph(rng).save(path, quality=90)
            rows.append(row)
    return rows


def _copy(out: Path, row: dict[str, str], number: int) -> dict[str, str]:
    """Copy a picture as if it had come in again as a new lesion: only its bytes give it away."""
    group = _lesion_id(number)
    path = f"{row['label']}/{group}_1.jpg"
    shutil.copyfile(out / row["path"], out / path)
    return {**row, "path": path, "group": group}


def _cut_off(path: Path) -> None:
    """Keep the first 60 % of a file, as an interrupted download does."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])


def _lesion_id(number: int) -> str:
    return f"lesion_{number:04d}"


def _write_manifest(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["path"]))


def _write_about(path: Path, planted: Planted) -> None:
    text = ABOUT.format(
        duplicates=", ".join(planted.duplicates),
        mislabelled=", ".join(planted.mislabelled),
        broken=", ".join(planted.broken),
    )
    path.write_text(text, encoding="utf-8")
