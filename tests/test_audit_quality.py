"""Every planted defect is named once, worst first, and nothing else is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from pictures import encode, solid
from tellapart.audit.looks import Look, look
from tellapart.audit.quality import DEFECTS, findings
from tellapart.data.dataset import Dataset
from tellapart.data.images import decode
from tellapart.records import Sample


def photo(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Sharp coloured boxes on a soft, noisy ground."""
    rng = np.random.default_rng(seed)
    width, height = size
    y = np.linspace(80, 160, height)[:, None, None]
    pixels = y + rng.normal(0, 6, (height, width, 3)) + rng.integers(-30, 30, 3)
    for _ in range(12):
        top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
        pixels[top : top + rng.integers(8, 30), left : left + rng.integers(8, 40)] = rng.integers(20, 235, 3)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def faded(image: Image.Image, part: float) -> Image.Image:
    return Image.blend(image, solid("white", image.size), part)


def line_drawing() -> Image.Image:
    page = np.full((120, 160, 3), 255, np.uint8)
    page[20:24, 10:150] = page[60:100, 40:44] = 0
    return Image.fromarray(page)


DAMAGE = {
    "blank": [solid((90, 120, 60), (160, 120)), solid("black", (160, 120)), solid("white", (160, 120))],
    "too dark": [ImageEnhance.Brightness(photo(100)).enhance(0.1)],
    "too bright": [faded(photo(101), 0.9)],
    "low information": [line_drawing()],
    "blurred": [photo(102).filter(ImageFilter.GaussianBlur(3))],
    "greyscale among colour": [photo(103).convert("L"), photo(104).convert("L").convert("RGB")],
    "border": [ImageOps.expand(photo(105), (16, 0), "black"), ImageOps.expand(photo(106), 10, "white")],
    "extreme size": [photo(107).resize((24, 18)), photo(108, (1600, 1200))],
    "extreme aspect ratio": [photo(109, (500, 100))],
}


def looked_at(pictures: dict[str, Image.Image], format: str = "JPEG") -> tuple[Dataset, list[Look]]:
    samples, looks = [], []
    for name, picture in pictures.items():
        content = encode(picture, format)
        samples.append(Sample(name, Path(name), "cat"))
        looks.append(look(content, decode(content)))
    return Dataset(tuple(samples), ("cat",)), looks


def good(n: int = 20) -> dict[str, Image.Image]:
    return {f"good/{seed}.jpg": photo(seed) for seed in range(n)}


def test_good_pictures_give_no_findings():
    assert findings(*looked_at(good())) == []
    assert findings(Dataset((), ()), []) == []


def test_all_planted_defects_are_found_and_nothing_else():
    planted = {f"{kind}/{i}.jpg": image for kind, images in DAMAGE.items() for i, image in enumerate(images)}
    found = findings(*looked_at(good() | planted))
    assert {finding.kind: sorted(finding.sample_ids) for finding in found} == {
        kind: [f"{kind}/{i}.jpg" for i in range(len(images))] for kind, images in DAMAGE.items()
    }


def test_a_blank_picture_is_called_nothing_else_but_odd_in_size():
    banner = solid("black", (900, 20))
    found = findings(*looked_at(good() | {"banner.jpg": banner}))
    assert [finding.kind for finding in found] == ["extreme size", "extreme aspect ratio", "blank"]


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_sentence_says_how_many_and_what_to_do(kind):
    (finding,) = findings(*looked_at(good() | {"odd.jpg": DAMAGE[kind][0]}))
    defect = next(d for d in DEFECTS if d.kind == kind)
    assert finding.message == f"1 picture {defect.says}: {defect.advice}"
    assert (finding.severity, finding.sample_ids) == (defect.severity, ("odd.jpg",))


def test_the_worst_come_first():
    blurred = {f"{r}.jpg": photo(7).filter(ImageFilter.GaussianBlur(r)) for r in (2, 4, 3)}
    (finding,) = findings(*looked_at(good() | blurred))
    assert finding.sample_ids == ("4.jpg", "3.jpg", "2.jpg")
    assert finding.message.startswith("3 pictures out of focus")


@pytest.mark.parametrize(
    "every",
    [
        lambda image: ImageEnhance.Brightness(image).enhance(0.15),
        lambda image: faded(image, 0.9),
        lambda image: image.filter(ImageFilter.GaussianBlur(3)),
        lambda image: image.convert("L"),
        lambda image: image.resize((480, 40)),
    ],
    ids=["dark", "bright", "blurred", "grey", "long"],
)
def test_what_all_of_a_set_are_is_nothing_out_of_the_ordinary(every):
    assert findings(*looked_at({name: every(image) for name, image in good(8).items()})) == []


def test_things_on_white_paper_are_neither_bright_nor_blank():
    paper = solid("white", (160, 120))
    cup = Image.new("L", (160, 120))
    ImageDraw.Draw(cup).ellipse((40, 25, 125, 95), fill=255)
    paper.paste(photo(3), mask=cup)
    assert findings(*looked_at(good(6) | {"paper.jpg": paper})) == []


def test_a_name_that_promises_another_format():
    dataset, looks = looked_at({"a.png": photo(0), "b.jpeg": photo(1), "c.JPG": photo(2), "d.dat": photo(3)})
    (finding,) = findings(dataset, looks)
    assert (finding.kind, finding.severity, finding.sample_ids) == ("misnamed", "note", ("a.png",))
    assert finding.details == {"formats": {"a.png": "JPEG"}}
    assert "first a.png, which is JPEG" in finding.message
