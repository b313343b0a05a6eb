"""Planted copies found by tellapart, imagededup and CleanVision among the very same files.

    python benchmarks/duplicate_tools.py --python OTHER/bin/python DATA [DATA ...] [--images 100]

OTHER is an environment with imagededup and CleanVision. Of each set a sample is taken; for every change
and strength of near_duplicates.py a folder holds the sample and one changed copy of each, all as lossless
PNG. Each tool runs with its default settings. A copy is found if it is in one pair with its original; a false
pair is one of two pictures that do not come from one original.
"""

import argparse
import json
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from measure import machine_line, table
from near_duplicates import CHANGES, WANTED, Change
from PIL import Image

from tellapart.data import duplicates
from tellapart.data.dataset import Dataset
from tellapart.data.images import decode
from tellapart.data.reader import in_parallel

RIVAL = Path(__file__).parent / "rivals" / "duplicates.py"
OURS = "tellapart"
Pairs = Iterable[tuple[str, str]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA")
    parser.add_argument("--python", type=Path, required=True, help="of the other tools' environment")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(machine_line("numpy", "pillow"), end="\n\n")
    for data in options.data:
        pictures = sampled(data, options.images, options.seed)
        print(f"### {data.name}: {len(pictures)} images and a copy of each\n")
        print(compared(pictures, options.python, options.seed), end="\n\n")


def sampled(data: Path, n_images: int, seed: int) -> list[Image.Image]:
    """Return some of a set's pictures."""
    samples = Dataset.load(data).verified().samples
    chosen = np.random.default_rng(seed).choice(len(samples), min(n_images, len(samples)), replace=False)
    return [decode(samples[i].path) for i in sorted(chosen.tolist())]


def compared(pictures: list[Image.Image], python: Path, seed: int) -> str:
    """Return the table of recall and false pairs by change and tool."""
    ways = [(name, strength) for name, strengths in CHANGES.items() for strength in strengths]
    with tempfile.TemporaryDirectory(prefix="tellapart-") as name:
        folders = [Path(name) / str(number) for number in range(len(ways))]
        for folder, (change, strength) in zip(folders, ways, strict=True):
            write(folder, pictures, CHANGES[change][strength], seed)
        found = [
            {OURS: ours(folder), **others}
            for folder, others in zip(folders, theirs(folders, python), strict=True)
        ]
    tools = list(found[0])
    rows: list[list[str]] = []
    false: dict[str, int] = defaultdict(int)
    for (change, strength), by_tool in zip(ways, found, strict=True):
        scores = {tool: score(pairs, len(pictures)) for tool, pairs in by_tool.items()}
        if change in WANTED:
            for tool, (_, n_false) in scores.items():
                false[tool] += n_false
        rows.append([change, strength, *(f"{100 * scores[tool][0]:.0f} %" for tool in tools)])
    rows.append(["false pairs", "of those wanted", *(str(false[tool]) for tool in tools)])
    return table(["change", "strength", *tools], rows)


def write(folder: Path, pictures: list[Image.Image], change: Change, seed: int) -> None:
    """Save every picture and its changed copy."""
    folder.mkdir()
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:05d}-original.png", compress_level=1)
        change(picture, np.random.default_rng(seed + number)).save(
            folder / f"{number:05d}-copy.png", compress_level=1
        )


def ours(folder: Path) -> Pairs:
    """Return the pairs that tellapart finds without a network."""
    paths = sorted(folder.iterdir())
    found = duplicates.find(
        np.stack(list(in_parallel(lambda path: duplicates.describe(decode(path)), paths)))
    )
    return [(paths[i].name, paths[j].name) for i, j in found.pairs.tolist()]


def theirs(folders: Sequence[Path], python: Path) -> list[dict[str, Pairs]]:
    """Return the pairs of each other tool, for each folder."""
    command = [python, RIVAL, *folders]
    answers = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [{tool: [(a, b) for a, b in pairs] for tool, pairs in json.loads(one).items()} for one in answers]


def score(pairs: Pairs, n_pictures: int) -> tuple[float, int]:
    """Return the share of copies found, and how many pairs are of two different pictures."""
    sources = [(a.split("-")[0], b.split("-")[0]) for a, b in pairs]
    right = {a for a, b in sources if a == b}
    wrong = {tuple(sorted(pair)) for pair in sources if pair[0] != pair[1]}
    return len(right) / n_pictures, len(wrong)


if __name__ == "__main__":
    main()
