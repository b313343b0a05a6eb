"""Ray Serve with its batching: one replica per core."""

import logging
import time

import numpy as np
import ray
from common import BATCH_WAIT_S, CORES, MAX_BATCH, PORT, Model
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=CORES, max_ongoing_requests=64, ray_actor_options={"num_cpus": 0.5})
class Classify:
    """The model as a Ray deployment."""

    def __init__(self) -> None:
        self.model = Model(threads=1)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=BATCH_WAIT_S)
    async def classify(self, contents: list[bytes]) -> list[list[float]]:
        """Answer several requests with one call."""
        return self.model.classify(np.stack([self.model.decode(content) for content in contents]))

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        """Answer one request."""
        return {"probabilities": await self.classify(await request.body())}


if __name__ == "__main__":
    ray.init(address="local", num_cpus=CORES, include_dashboard=False, logging_level=logging.ERROR)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT}, logging_config={"log_level": "ERROR"})
    serve.run(Classify.bind(), route_prefix="/predict")
    while True:
        time.sleep(3600)
