"""What every rival runs: our decoder and the same graph. The environment says which, and where to listen."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.bundle import Bundle
from tellapart.data.images import load_pixels
from tellapart.inference import Engine

MODEL = Path(os.environ["MODEL"])
PORT = int(os.environ["PORT"])
CORES = int(os.environ["CORES"])
MAX_BATCH = 8
BATCH_WAIT_S = 0.005


class Model:
    """One engine and what comes before it."""

    def __init__(self, threads: int) -> None:
        bundle = Bundle.load(MODEL)
        self.resize = bundle.card.preprocessing
        self.engine = Engine(bundle.model_path, threads=threads)

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """Return the pixels of one file."""
        return load_pixels(content, self.resize)

    def classify(self, pixels: NDArray[np.uint8]) -> list[list[float]]:
        """Return the probabilities of a batch."""
        return self.engine(pixels).tolist()
