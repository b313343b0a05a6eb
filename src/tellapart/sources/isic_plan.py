"""What is asked of the ISIC Archive: classes, and the conditions that the images of all of them fulfil."""

from collections.abc import Mapping
from dataclasses import dataclass

from tellapart.errors import ConfigError

LICENCES = {
    "CC-0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-NC": "https://creativecommons.org/licenses/by-nc/4.0/",
}
"""What images of the archive are licensed under, and where the text is."""

IMAGE_TYPES = (
    "dermoscopic",
    "clinical: overview",
    "clinical: close-up",
    "TBP tile: close-up",
    "TBP tile: overview",
    "RCM: macroscopic",
    "RCM: tile",
    "RCM: mosaic",
)
LEVELS = ("diagnosis_1", "diagnosis_2", "diagnosis_3", "diagnosis_4", "diagnosis_5")
"""From the coarsest (Benign, Indeterminate, Malignant) to the finest."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A class of images: one value at one level of the archive's hierarchy of diagnoses."""

    level: str
    name: str

    @property
    def query(self) -> str:
        """What finds its images."""
        return f'{self.level}:"{self.name}"'


@dataclass(frozen=True, slots=True)
class Plan:
    """Which images are wanted of every class.

    Attributes
    ----------
    image_type
        One of `IMAGE_TYPES`; None for all of them.
    licences
        The only ones wanted, of `LICENCES`; empty for all.
    query
        A further condition in the archive's own language, such as ``age_approx:[20 TO 40]``. Unless it names
        ``image_manipulation``, images that were altered or made by a program are left out.
    collections
        Numbers of the archive's collections; empty for the whole archive.
    seed
        Decides which images are taken where there are more than wanted.
    thumbnails
        Whether the small pictures (256 px) are loaded instead of the whole ones.

    Raises
    ------
    ConfigError
        For a licence that the archive does not use.
    """

    image_type: str | None = "dermoscopic"
    licences: tuple[str, ...] = ()
    query: str = ""
    collections: tuple[int, ...] = ()
    seed: int = 0
    thumbnails: bool = False

    def __post_init__(self) -> None:
        for licence in self.licences:
            if licence not in LICENCES:
                raise ConfigError(f"licence {licence!r} is not one of the archive's: {', '.join(LICENCES)}")

    @property
    def filter(self) -> str:
        """The conditions that all classes share, as a query; empty if there are none."""
        terms = [f"({self.query})"] if self.query else []
        if self.image_type is not None:
            terms.append(f'image_type:"{self.image_type}"')
        if self.licences:
            terms.append("(" + " OR ".join(f"copyright_license:{name}" for name in self.licences) + ")")
        if "image_manipulation" not in self.query:
            terms.append("-image_manipulation:*")
        return " AND ".join(terms)

    def query_for(self, diagnosis: Diagnosis) -> str:
        """Return the query that finds the images of one class."""
        return f"{diagnosis.query} AND {self.filter}" if self.filter else diagnosis.query


@dataclass(frozen=True, slots=True)
class Offer:
    """What the archive has of one class.

    Attributes
    ----------
    diagnosis
        The class.
    n_images
        How many images fit; the archive's own estimate.
    bytes_per_image
        Mean announced size of the files, a few per cent less than what comes.
    licences
        How many images each licence covers.
    """

    diagnosis: Diagnosis
    n_images: int
    bytes_per_image: float
    licences: Mapping[str, int]
