"""How many planted copies are found at the default threshold, what else is flagged, and how long it takes.

    python benchmarks/near_duplicates.py DATA [DATA ...] [--images 1500] [--features]
    python benchmarks/near_duplicates.py --search 100000 [--alike] [--embeddings DATA]

Recall: of each set a sample is copied in every way and strength below, each way in a search of its own among
all the set's originals. A copy is found if it is in one pair with its original. A false pair is one of two
pictures that do not come from one original, and whose originals are no pair on their own: the pairs among
originals are printed with their similarity, to be looked at.

Search: among many random pictures with the spectrum of natural ones, a hundredth of them copied, in a process
of its own, for time and memory. With --embeddings each also has features: those of the default network for
the images of DATA, again and again, scattered by half their spread.
"""

import argparse
import io
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measure import machine_line, megabytes, peak_bytes, table
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from tellapart.data import duplicates
from tellapart.data.dataset import Dataset
from tellapart.data.embedding import Network, default_network
from tellapart.data.images import decode
from tellapart.data.reader import in_parallel
from tellapart.data.survey import survey

Change = Callable[[Image.Image, np.random.Generator], Image.Image]
WANTED = ("re-encode", "resize", "crop", "flip", "rotate 90", "brightness")
"""The ways for which 95 % are wanted."""


def reencode(quality: int) -> Change:
    """JPEG at a quality."""

    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer).convert("RGB")

    return change


def resize(factor: float) -> Change:
    """Both edges by a factor, bicubic."""
    return lambda image, rng: image.resize(
        (round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC
    )


def crop(part: float) -> Change:
    """Take `part` off each dimension, at a random place."""

    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        left, top = (rng.random() * part * edge for edge in image.size)
        width, height = (edge * (1 - part) for edge in image.size)
        return image.crop((round(left), round(top), round(left + width), round(top + height)))

    return change


def turn(how: Image.Transpose) -> Change:
    """Mirror, or turn by a right angle."""
    return lambda image, rng: image.transpose(how)


def brighten(factor: float) -> Change:
    """Multiply all values; what is too bright is cut off."""
    return lambda image, rng: ImageEnhance.Brightness(image).enhance(factor)


def contrast(factor: float) -> Change:
    """Stretch or shrink about the mean."""
    return lambda image, rng: ImageEnhance.Contrast(image).enhance(factor)


def recolour(strength: int) -> Change:
    """Grey; red and blue exchanged; inverse hue by a turn of 90 degrees."""

    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        if strength == 0:
            return ImageOps.grayscale(image).convert("RGB")
        if strength == 1:
            return Image.merge("RGB", image.split()[::-1])
        hue, saturation, value = image.convert("HSV").split()
        return Image.merge("HSV", (hue.point(lambda v: (v + 64) % 256), saturation, value)).convert("RGB")

    return change


def blur(radius: float) -> Change:
    """Gaussian, in pixels of a picture 224 wide."""
    return lambda image, rng: image.filter(ImageFilter.GaussianBlur(radius * image.width / 224))


def tilt(degrees: float) -> Change:
    """Turn about the centre; corners are left black."""
    return lambda image, rng: image.rotate(degrees, Image.Resampling.BICUBIC)


def stamp(part: float) -> Change:
    """Cover a strip at the lower border with black and write on it."""

    def change(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        image = image.copy()
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, image.height * (1 - part), image.width, image.height), fill="black")
        draw.text((4, image.height * (1 - part) + 2), "copy 2026", fill="white")
        return image

    return change


CHANGES: dict[str, dict[str, Change]] = {
    "re-encode": {f"JPEG {q}": reencode(q) for q in (75, 40, 15)},
    "resize": {f"x {f}": resize(f) for f in (0.75, 0.5, 0.25)},
    "crop": {f"{p:.0%}": crop(p) for p in (0.03, 0.06, 0.1)},
    "flip": {
        "left-right": turn(Image.Transpose.FLIP_LEFT_RIGHT),
        "upside down": turn(Image.Transpose.FLIP_TOP_BOTTOM),
        "diagonal": turn(Image.Transpose.TRANSPOSE),
    },
    "rotate 90": {
        "90": turn(Image.Transpose.ROTATE_90),
        "180": turn(Image.Transpose.ROTATE_180),
        "270": turn(Image.Transpose.ROTATE_270),
    },
    "brightness": {f"x {f}": brighten(f) for f in (0.8, 1.2, 0.5)},
    "contrast": {f"x {f}": contrast(f) for f in (0.8, 1.2, 0.5)},
    "recolour": {name: recolour(i) for i, name in enumerate(("grey", "red for blue", "hue + 90"))},
    "blur": {f"{r} px": blur(r) for r in (1, 2, 4)},
    "tilt": {f"{d} degrees": tilt(d) for d in (2, 4, 8)},
    "stamp": {f"{p:.0%}": stamp(p) for p in (0.05, 0.1, 0.2)},
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", type=Path, metavar="DATA")
    parser.add_argument("--images", type=int, default=1500, help="copied of each set; all are searched")
    parser.add_argument("--features", action="store_true", help="search by the default network, too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--search", type=int, metavar="N", help="time the search among N pictures")
    parser.add_argument("--embeddings", type=Path, metavar="DATA", help="and features like those of DATA")
    parser.add_argument("--alike", action="store_true", help="of which each is a little like every other")
    options = parser.parse_args()
    print(machine_line("numpy", "scipy", "pillow", "scikit-learn"), end="\n\n")
    if options.search:
        features = None if options.embeddings is None else features_of(options.embeddings)
        new_process = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=new_process) as pool:
            work = pool.submit(measure_search, options.search, options.seed, options.alike, features)
            print(work.result())
        return
    for data in options.data:
        measure_set(data, options.images, options.seed, options.features)


def measure_set(data: Path, n_images: int, seed: int, with_features: bool) -> None:
    """Print the table of one set."""
    dataset = Dataset.load(data).verified()
    paths = [sample.path for sample in dataset.samples]
    chosen = np.random.default_rng(seed).choice(len(paths), min(n_images, len(paths)), replace=False)
    chosen.sort()
    describe = Describer(default_network() if with_features else None)
    originals = describe(decode(path) for path in paths)
    started = time.perf_counter()
    among = originals.find()
    seconds = time.perf_counter() - started
    print(f"### {data.name}: {len(paths)} images, {len(chosen)} of them copied\n")
    print(f"{len(among.pairs)} pairs among the originals, found in {seconds:.1f} s:")
    for (first, second), value in zip(among.pairs[:40], among.similarity, strict=False):
        print(f"- {dataset.samples[first].id}, {dataset.samples[second].id}: {value:.3f}")
    rows = []
    for name, strengths in CHANGES.items():
        for strength, change in strengths.items():
            copies = describe(change(decode(paths[i]), np.random.default_rng(seed + i)) for i in chosen)
            both = originals + copies
            scores = score(both.pictures_alone().find(), len(paths), chosen, among)
            if with_features:
                scores += score(both.find(), len(paths), chosen, among)
            rows.append([name, strength, *scores])
            print(".", end="", file=sys.stderr, flush=True)
    header = ["recall", "false pairs", "of pictures"]
    both_headers = [*header, *(f"{name}, with features" for name in header)] if with_features else header
    print()
    print(table(["change", "strength", *both_headers], rows))
    wanted = [float(row[2].rstrip(" %")) for row in rows if row[0] in WANTED]
    print(f"\nleast recall of {', '.join(WANTED)}: {min(wanted):.1f} %; mean {np.mean(wanted):.1f} %\n")


@dataclass
class Described:
    """Pictures as the search takes them."""

    descriptors: NDArray[np.uint8]
    embeddings: NDArray[np.float32] | None

    def __add__(self, other: "Described") -> "Described":
        embeddings = None
        if self.embeddings is not None and other.embeddings is not None:
            embeddings = np.concatenate([self.embeddings, other.embeddings])
        return Described(np.concatenate([self.descriptors, other.descriptors]), embeddings)

    def pictures_alone(self) -> "Described":
        """Return the same without features."""
        return Described(self.descriptors, None)

    def find(self) -> duplicates.Duplicates:
        """Return their near-duplicates at the default threshold."""
        return duplicates.find(self.descriptors, embeddings=self.embeddings)


class Describer:
    """Describes pictures, with a network's features if there is one."""

    def __init__(self, network: Network | None) -> None:
        self.network = network

    def __call__(self, images: Iterable[Image.Image]) -> Described:
        """Return the pictures' descriptors and features."""
        rows = list(in_parallel(self._one, images))
        embeddings = np.concatenate([row for _, row in rows]) if self.network else None
        return Described(np.stack([descriptor for descriptor, _ in rows]), embeddings)

    def _one(self, image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        if self.network is None:
            return duplicates.describe(image), np.empty((1, 0), np.float32)
        return duplicates.describe(image), self.network.featurizer(self.network.resize(image)[None])


def score(
    found: duplicates.Duplicates,
    n_originals: int,
    chosen: NDArray[np.int64],
    among: duplicates.Duplicates,
) -> list[str]:
    """Return recall, false pairs, and false pairs as a part of the pictures searched."""
    source = np.concatenate([np.arange(n_originals), chosen])
    names = np.sort(source[found.pairs], axis=1)
    right = names[:, 0] == names[:, 1]
    known = {tuple(pair) for pair in among.pairs.tolist()}
    false = len({tuple(pair) for pair in names[~right].tolist()} - known)
    recall = len(set(names[right, 0].tolist())) / len(chosen)
    return [f"{recall:.1%}".replace("%", " %"), str(false), f"{false / len(source):.3%}".replace("%", " %")]


def features_of(data: Path) -> NDArray[np.float32]:
    """Return the default network's features of a set."""
    found = survey(Dataset.load(data), (duplicates.DESCRIPTOR,), default_network(), stage="features")
    assert found.features is not None
    return found.features


def measure_search(n_pictures: int, seed: int, alike: bool, features: NDArray[np.float32] | None) -> str:
    """Return a table of one search among pictures that no one drew."""
    pictures, n_copies = drawn(n_pictures, seed), n_pictures // 100
    rng = np.random.default_rng(seed + 1)
    if alike:
        half = pictures[0].astype(np.float32) * 0.75
        pictures = np.stack([half + picture * np.float32(0.25) for picture in pictures]).astype(np.uint8)
    noise = rng.normal(0, 2, (n_copies, pictures.shape[1]))
    pictures[-n_copies:] = np.clip(pictures[:n_copies] * 0.9 + noise, 0, 255).astype(np.uint8)
    embeddings = None if features is None else many_like(features, n_pictures, n_copies, alike, rng)
    before, started = peak_bytes(), time.perf_counter()
    found = duplicates.find(pictures, embeddings=embeddings)
    seconds = time.perf_counter() - started
    wanted = {(i, n_pictures - n_copies + i) for i in range(n_copies)}
    right = len(wanted & {tuple(pair) for pair in found.pairs.tolist()})
    row = [
        f"{n_pictures:,}" + (", all alike" if alike else ""),
        "none" if embeddings is None else embeddings.shape[1],
        f"{seconds:.1f}",
        megabytes(before),
        megabytes(peak_bytes()),
        f"{right} of {n_copies}",
        len(found.pairs) - right,
    ]
    header = ["pictures", "features", "seconds", "peak before", "peak", "copies found", "other pairs"]
    return table(header, [row])


def many_like(
    features: NDArray[np.float32], n: int, n_copies: int, alike: bool, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return n rows scattered around real ones, or around one of them; the last are copies of the first."""
    spread = features.std(axis=0) * np.float32(0.5)
    rows = np.empty((n, features.shape[1]), np.float32)
    for begin in range(0, n, 5000):
        block = rows[begin : begin + 5000]
        block[:] = rng.normal(size=block.shape)
        block *= spread
        block += features[0] if alike else features[np.arange(begin, begin + len(block)) % len(features)]
    rows[-n_copies:] = rows[:n_copies] * np.float32(1.01)
    return rows


def drawn(n_pictures: int, seed: int) -> NDArray[np.uint8]:
    """Return random pictures with the spectrum of natural ones: amplitude falls with frequency."""
    edge = int(duplicates.DESCRIPTOR_LENGTH**0.5)
    rng = np.random.default_rng(seed)
    height = np.hypot(np.fft.fftfreq(edge)[:, None], np.fft.rfftfreq(edge)) * edge
    result = np.empty((n_pictures, edge * edge), np.uint8)
    for begin in range(0, n_pictures, 5000):
        n = min(5000, n_pictures - begin)
        noise = np.fft.rfft2(rng.normal(size=(n, edge, edge))) / np.maximum(height, 1) ** 1.2
        picture = np.fft.irfft2(noise, s=(edge, edge)).reshape(n, -1)
        picture = 128 + 45 * (picture - picture.mean(1, keepdims=True)) / picture.std(1, keepdims=True)
        result[begin : begin + n] = np.clip(picture, 0, 255)
    return result


if __name__ == "__main__":
    main()
