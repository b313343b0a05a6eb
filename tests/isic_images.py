"""What the stand-in of the ISIC Archive holds, and which of it a query finds.

Made up, but with everything that is awkward about the real one: several photographs of a lesion and several
lesions of a patient, images without either, without a diagnosis or with an indeterminate one, tiles of whole
bodies, three licences, names that are not ASCII, files that name somebody else than the API does, numbers
that are sent as text, and many images that were created in the same instant.
"""

import hashlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from pictures import class_picture, encode

Test = Callable[["StoredImage"], bool]

BENIGN, MALIGNANT, INDETERMINATE = "Benign", "Malignant", "Indeterminate"
DIAGNOSES: tuple[tuple[str, ...], ...] = (
    (BENIGN, "Benign melanocytic proliferations", "Nevus", "Nevus, NOS, Compound"),
    (BENIGN, "Benign epidermal proliferations", "Seborrheic keratosis"),
    (MALIGNANT, "Malignant melanocytic proliferations (Melanoma)", "Melanoma Invasive"),
    (MALIGNANT, "Malignant melanocytic proliferations (Melanoma)", "Melanoma, NOS"),
    (MALIGNANT, "Malignant adnexal epithelial proliferations - Follicular", "Basal cell carcinoma"),
    (INDETERMINATE, "Indeterminate epidermal proliferations", "Solar or actinic keratosis"),
    (),
)
ATTRIBUTIONS = {
    "CC-0": "Anonymous",
    "CC-BY": "Hospital Clínic de Barcelona; Đặng Thị Ngọc, Ōsaka",
    "CC-BY-NC": "ViDIR Group, Department of Dermatology, Medical University of Vienna",
}
COLLECTIONS = {70: "Challenge 2020: Training", 212: "HAM10000"}
IMAGE_TYPES = ("dermoscopic", "TBP tile: close-up", "clinical: close-up", "clinical: overview")

_BEGINNING = datetime(2018, 3, 19, 1, 43, 52, 740_000, tzinfo=UTC)
_NUMBERS = {"age_approx", "clin_size_long_diam_mm", "mel_thick_mm"}
_FLAGS = {"melanocytic", "concomitant_biopsy", "personal_hx_mm", "family_hx_mm", "mel_ulcer", "public"}
_TEXTS = {
    *("isic_id", "copyright_license", "sex", "diagnosis_confirm_type", "image_type", "dermoscopic_type"),
    *("tbp_tile_type", "mel_mitotic_index", "anatom_site_special", "patient_id", "lesion_id", "rcm_case_id"),
    *("image_manipulation", "fitzpatrick_skin_type"),
    *(f"diagnosis_{level}" for level in range(1, 6)),
    *(f"anatom_site_{level}" for level in range(1, 6)),
}
_OLD_NAMES = {"clinical": "clinical: close-up", "overview": "clinical: overview"}


@dataclass(frozen=True)
class StoredImage:
    """One image of the archive: what the API says of it, and its file."""

    isic_id: str
    created: str
    licence: str
    acquisition: dict[str, Any]
    clinical: dict[str, Any]
    collections: frozenset[int] = frozenset()
    public: bool = True
    suffix: str = "jpg"
    seed: int = 0
    attribution: str = field(default="")

    def value(self, name: str) -> Any:
        """A searchable field; None where it has none."""
        own = {"isic_id": self.isic_id, "copyright_license": self.licence, "public": self.public}
        return {**own, **self.acquisition, **self.clinical}.get(name)

    @cached_property
    def ingested(self) -> bytes:
        """The file as it was when its size was written down."""
        kind = (BENIGN, MALIGNANT).index(self.clinical.get("diagnosis_1", BENIGN)) if self.has_class else 2
        size = self.acquisition["pixels_x"], self.acquisition["pixels_y"]
        picture = class_picture(np.random.default_rng(self.seed), kind, size)
        return encode(picture, "PNG") if self.suffix == "png" else encode(picture, "JPEG", quality=90)

    @property
    def has_class(self) -> bool:
        """Whether it is plainly benign or malignant."""
        return self.clinical.get("diagnosis_1") in (BENIGN, MALIGNANT)

    @property
    def credit(self) -> str:
        """Whom the file names: the API gives one name to all images that came together."""
        return f"{self.attribution}, {self.seed % 7}" if self.seed % 3 == 0 else self.attribution

    @cached_property
    def content(self) -> bytes:
        """The file as it is sent: a licence was written into JPEGs later, about 3 kB of it."""
        if self.suffix != "jpg":
            return self.ingested
        note = f"{self.isic_id} {self.licence} {self.credit}".encode().ljust(3059)
        return self.ingested[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + self.ingested[2:]

    @cached_property
    def thumbnail(self) -> bytes:
        """The small picture."""
        kind = 0 if not self.has_class else (BENIGN, MALIGNANT).index(self.clinical["diagnosis_1"])
        return encode(class_picture(np.random.default_rng(self.seed), kind, (32, 24)), "JPEG")

    @cached_property
    def md5(self) -> str:
        """Of the file that is sent."""
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest()


def make_images(n: int = 400, seed: int = 0, size: tuple[int, int] = (60, 45)) -> list[StoredImage]:
    """Make `n` images, in the order in which they were added; the newer half has random ids."""
    rng = random.Random(seed)
    new_ids = iter(rng.sample(range(100_000, 9_999_999), n))
    lesions = _lesions(rng)
    images: list[StoredImage] = []
    while len(images) < n:
        lesion, licence, number = next(lesions), rng.choice([*ATTRIBUTIONS]), len(images)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            number = len(images)
            isic_id = 24_306 + number if number < n // 2 else next(new_ids)
            image_type = rng.choices(IMAGE_TYPES, (16, 2, 1, 1))[0]
            images.append(
                StoredImage(
                    isic_id=f"ISIC_{isic_id:07d}",
                    created=str(_BEGINNING + timedelta(minutes=number // 20)),
                    licence=licence,
                    attribution=ATTRIBUTIONS[licence],
                    acquisition=_acquisition(rng, image_type, size),
                    clinical=lesion,
                    collections=frozenset({70} if number % 3 == 0 else {212} if number % 3 == 1 else ()),
                    public=number % 50 != 49,
                    suffix="png" if number % 97 == 5 else "jpg",
                    seed=seed * 1_000_003 + number,
                )
            )
    return images[:n]


def _lesions(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Clinical metadata of one lesion after another, some of them of one patient."""
    while True:
        of_patient = {"sex": rng.choice(("male", "female")), "age_approx": rng.randrange(15, 90, 5)}
        if rng.random() < 0.8:
            of_patient["patient_id"] = f"IP_{rng.randrange(10**7):07d}"
        for _ in range(rng.choice((1, 1, 2, 3))):
            diagnosis = rng.choices(DIAGNOSES, (10, 3, 4, 3, 3, 2, 1))[0]
            lesion = {
                **{f"diagnosis_{level}": name for level, name in enumerate(diagnosis, 1)},
                **(of_patient if rng.random() < 0.9 else {}),
                "anatom_site_1": rng.choice(("Trunk", "Head & neck", "Upper extremity")),
                "melanocytic": "melanocytic" in "".join(diagnosis),
                "clin_size_long_diam_mm": f"{rng.uniform(1, 12):.2f}",
            }
            if rng.random() < 0.8:
                lesion["lesion_id"] = f"IL_{rng.randrange(10**7):07d}"
            yield lesion if diagnosis or rng.random() < 0.5 else {}


def _acquisition(rng: random.Random, image_type: str, size: tuple[int, int]) -> dict[str, Any]:
    facts = {"pixels_x": size[0], "pixels_y": size[1], "image_type": image_type}
    if image_type == "dermoscopic":
        facts["dermoscopic_type"] = "contact polarized"
    if rng.random() < 0.03:
        facts["image_manipulation"] = "altered"
    return facts


class BadQuery(ValueError):
    """Not a query of the archive's language."""


_TOKEN = re.compile(
    r"\s*(?:(?P<bracket>[()])|(?P<word>AND|OR)(?![\w:])"
    r"|(?P<minus>-?)(?P<field>[a-z0-9_]+):"
    r'(?P<value>"[^"]*"|[\[{][^\]}]*[\]}]|[A-Za-z0-9*_-]+))\s*'
)
_RANGE = re.compile(r"([\[{])\s*(\d+|\*)\s+TO\s+(\d+|\*)\s*([\]}])")


def finder(query: str) -> Test:
    """Read a query in the archive's language; return what tells whether it finds an image.

    Raises
    ------
    BadQuery
        If it is not one.
    """
    tokens, position = [], 0
    while position < len(query.strip()):
        match = _TOKEN.match(query.strip(), position)
        if match is None:
            raise BadQuery(query)
        tokens.append(match)
        position = match.end()
    if not tokens:
        return lambda image: True
    test = _either(tokens)
    if tokens:
        raise BadQuery(query)
    return test


def _either(tokens: list[re.Match[str]]) -> Test:
    tests = [_both(tokens)]
    while tokens and tokens[0]["word"] == "OR":
        tokens.pop(0)
        tests.append(_both(tokens))
    return lambda image: any(test(image) for test in tests)


def _both(tokens: list[re.Match[str]]) -> Test:
    tests = [_term(tokens)]
    while tokens and tokens[0]["word"] != "OR" and tokens[0]["bracket"] != ")":
        if tokens[0]["word"] == "AND":
            tokens.pop(0)
        tests.append(_term(tokens))
    return lambda image: all(test(image) for test in tests)


def _term(tokens: list[re.Match[str]]) -> Test:
    if not tokens:
        raise BadQuery
    token = tokens.pop(0)
    if token["field"]:
        test = _condition(token["field"], token["value"])
        return (lambda image: not test(image)) if token["minus"] else test
    if token["bracket"] != "(":
        raise BadQuery
    inner = _either(tokens)
    if not tokens or tokens.pop(0)["bracket"] != ")":
        raise BadQuery
    return inner


def _condition(name: str, text: str) -> Test:
    if name not in _NUMBERS | _FLAGS | _TEXTS:
        raise BadQuery(name)
    if text == "*":
        return lambda image: image.value(name) is not None
    if name in _NUMBERS:
        return _number_condition(name, text)
    if name in _FLAGS:
        if text not in ("true", "false"):
            raise BadQuery(text)
        return lambda image: image.value(name) is (text == "true")
    wanted = text.strip('"')
    if name == "image_type":
        wanted = _OLD_NAMES.get(wanted, wanted)
    if wanted.startswith("*"):
        return lambda image: str(image.value(name) or "").endswith(wanted[1:])
    if wanted.endswith("*"):
        return lambda image: str(image.value(name) or "").startswith(wanted[:-1])
    return lambda image: image.value(name) == wanted


def _number_condition(name: str, text: str) -> Test:
    match = _RANGE.fullmatch(text)
    if match is None and not text.isdecimal():
        raise BadQuery(text)
    opening, low, high, closing = match.groups() if match else ("[", text, text, "]")

    def test(image: StoredImage) -> bool:
        if image.value(name) is None:
            return False
        number = float(image.value(name))
        above = low == "*" or number > float(low) or (number == float(low) and opening == "[")
        below = high == "*" or number < float(high) or (number == float(high) and closing == "]")
        return above and below

    return test


def find(images: Sequence[StoredImage], query: str, collections: Sequence[int] = ()) -> list[StoredImage]:
    """Return the public images that a query finds, oldest first."""
    test = finder(query)
    return [
        image
        for image in images
        if image.public and (not collections or image.collections & set(collections)) and test(image)
    ]
