"""BentoML with its adaptive batching: one worker process per core."""

import bentoml
import numpy as np
from common import CORES, MAX_BATCH, Model
from PIL.Image import Image

from tellapart.data.images import to_rgb


@bentoml.service(workers=CORES, traffic={"timeout": 60})
class Classify:
    """The model as a Bento service."""

    def __init__(self) -> None:
        self.model = Model(threads=1)

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=10_000)
    def predict(self, image: list[Image]) -> list[list[float]]:
        """Answer with the probabilities of a batch."""
        return self.model.classify(np.stack([self.model.resize(to_rgb(one)) for one in image]))
