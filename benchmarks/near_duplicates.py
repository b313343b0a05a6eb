"""How many planted copies are found at the default threshold, what else is flagged, and how long it takes.

    python benchmarks/near_duplicates.py DATA [DATA ...] [--images 1500]
    python benchmarks/near_duplicates.py --search 100000

Recall: of each set a sample is copied in every way and strength below, each way in a search of its own among
all the set's originals. A copy is found if it is in one pair with its original. A false pair is one of two
pictures that do not come from one original, and whose originals are no pair on their own: the pairs among
originals are printed with their similarity, to be looked at.

Search: among many random pictures with the spectrum of natural ones, a hundredth of them copied, in a process
of its own, for time and memory.
"""

import argparse
import io
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from measure import machine_line, megabytes, peak_bytes, table
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from tellapart.data import duplicates
from tellapart.data.dataset import Dataset
from tellapart.data.images import decode
from tellapart.data.reader import in_parallel

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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--search", type=int, metavar="N", help="time the search among N pictures")
    options = parser.parse_args()
    print(machine_line("numpy", "scipy", "pillow"), end="\n\n")
    for data in options.data:
        measure_set(data, options.images, options.seed)
    if options.search:
        new_process = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=new_process) as pool:
            print(pool.submit(measure_search, options.search, options.seed).result())


def measure_set(data: Path, n_images: int, seed: int) -> None:
    """Print the table of one set."""
    dataset = Dataset.load(data).verified()
    paths = [sample.path for sample in dataset.samples]
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(paths), min(n_images, len(paths)), replace=False))
    originals = np.stack(list(in_parallel(lambda path: duplicates.describe(decode(path)), paths)))
    started = time.perf_counter()
    among = duplicates.find(originals)
    seconds = time.perf_counter() - started
    print(f"### {data.name}: {len(paths)} images, {len(chosen)} of them copied\n")
    print(f"{len(among.pairs)} pairs among the originals, found in {seconds:.1f} s:")
    for (first, second), value in zip(among.pairs[:40], among.similarity, strict=False):
        print(f"- {dataset.samples[first].id}, {dataset.samples[second].id}: {value:.3f}")
    rows = []
    for name, strengths in CHANGES.items():
        for strength, change in strengths.items():
            copies = np.stack(
                list(in_parallel(lambda i, c=change: copied(paths[i], c, seed + i), chosen.tolist()))
            )
            rows.append([name, strength, *score(originals, copies, chosen, among)])
    print()
    print(table(["change", "strength", "recall", "false pairs", "of pictures compared"], rows))
    wanted = [float(row[2].rstrip(" %")) for row in rows if row[0] in WANTED]
    print(f"\nleast recall of {', '.join(WANTED)}: {min(wanted):.1f} %; mean {np.mean(wanted):.1f} %\n")


def copied(path: Path, change: Change, seed: int) -> NDArray[np.uint8]:
    """Return the descriptor of a changed copy."""
    return duplicates.describe(change(decode(path), np.random.default_rng(seed)))


def score(
    originals: NDArray[np.uint8],
    copies: NDArray[np.uint8],
    chosen: NDArray[np.int64],
    among: duplicates.Duplicates,
) -> list[str]:
    """Return recall, false pairs, and false pairs as a part of the pictures searched."""
    found = duplicates.find(np.concatenate([originals, copies]))
    source = np.concatenate([np.arange(len(originals)), chosen])
    names = np.sort(source[found.pairs], axis=1)
    right = names[:, 0] == names[:, 1]
    known = {tuple(pair) for pair in among.pairs.tolist()}
    false = sum(tuple(pair) not in known for pair in names[~right].tolist())
    recall = len(set(names[right, 0].tolist())) / len(chosen)
    return [f"{recall:.1%}".replace("%", " %"), str(false), f"{false / len(source):.3%}".replace("%", " %")]


def measure_search(n_pictures: int, seed: int) -> str:
    """Return a table of one search among pictures that no one drew."""
    pictures = drawn(n_pictures, seed)
    n_copies = n_pictures // 100
    rng = np.random.default_rng(seed + 1)
    noise = rng.normal(0, 2, (n_copies, pictures.shape[1]))
    pictures[-n_copies:] = np.clip(pictures[:n_copies] * 0.9 + noise, 0, 255).astype(np.uint8)
    before, started = peak_bytes(), time.perf_counter()
    found = duplicates.find(pictures)
    seconds = time.perf_counter() - started
    wanted = {(i, n_pictures - n_copies + i) for i in range(n_copies)}
    right = len(wanted & {tuple(pair) for pair in found.pairs.tolist()})
    row = [
        n_pictures,
        f"{seconds:.1f}",
        megabytes(before),
        megabytes(peak_bytes()),
        f"{right} of {n_copies}",
        len(found.pairs) - right,
    ]
    return table(["pictures", "seconds", "peak before", "peak", "copies found", "other pairs"], [row])


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
