"""Pairs that imagededup and CleanVision find, with their default settings, among the images of folders.

Run by benchmarks/duplicate_tools.py in an environment that has both. Prints one JSON object per folder:
tool -> pairs of file names.
"""

import contextlib
import json
import sys
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

from cleanvision import Imagelab
from imagededup.methods import PHash


def imagededup(folder: Path) -> list[list[str]]:
    """Perceptual hash, distance at most 10 of 64 bits."""
    found = PHash(verbose=False).find_duplicates(image_dir=folder, recursive=False)
    return sorted({tuple(sorted((name, other))) for name, others in found.items() for other in others})


def cleanvision(folder: Path) -> list[list[str]]:
    """Exact and near-duplicates: equal perceptual hashes."""
    lab = Imagelab(data_path=str(folder))
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, verbose=False)
    groups = [g for kind in ("exact_duplicates", "near_duplicates") for g in lab.info[kind]["sets"]]
    return sorted({pair for g in groups for pair in combinations(sorted(Path(p).name for p in g), 2)})


TOOLS = {
    f"imagededup {version('imagededup')}, PHash": imagededup,
    f"CleanVision {version('cleanvision')}": cleanvision,
}

if __name__ == "__main__":
    for name in sys.argv[1:]:
        with contextlib.redirect_stdout(sys.stderr):
            pairs = {tool: find(Path(name)) for tool, find in TOOLS.items()}
        print(json.dumps(pairs), flush=True)
