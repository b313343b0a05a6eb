"""What the models do is counted, and what they see is compared with what they were checked on."""

from types import SimpleNamespace

import numpy as np
import pytest

from tellapart.drift import DriftWindow, summarise
from tellapart.serving.batcher import Batch
from tellapart.serving.metrics import Metrics
from tellapart.serving.watch import DRIFT_EVERY, Watch

SEEN = np.random.default_rng(0).integers(0, 255, (60, 8, 8, 3), np.uint8)
Y_PROB = np.tile([[0.8, 0.2], [0.3, 0.7]], (30, 1))
REFERENCE = summarise(SEEN, Y_PROB, ("a", "b"), images_from="test")


class Drifts(Metrics):
    """Metrics that remember whose drift was shown."""

    def __init__(self):
        super().__init__()
        self.told = []

    def drifted(self, model, distances):
        self.told.append((model, bool(distances)))


def model(name: str, version: str = "1"):
    return SimpleNamespace(name=name, version=version, drift=DriftWindow(REFERENCE))


def batch(n: int = 4, queue_length: int = 0) -> Batch:
    return Batch(SEEN[:n], Y_PROB[:n], queue_length, 0.01)


@pytest.fixture
def metrics():
    return Drifts()


def test_models_that_take_turns_are_all_looked_at(metrics):
    watch, models = Watch(metrics), [model("a"), model("b")]
    for each in models:
        watch.serving(each)
    for _ in range(DRIFT_EVERY):
        for each in models:
            watch.batch_done(each, batch(queue_length=9))

    assert metrics.told == [("a", False), ("b", False)]
    assert len(models[0].drift) == len(models[1].drift) > 0


def test_an_old_version_that_ends_is_not_looked_at(metrics):
    watch, old, new = Watch(metrics), model("a"), model("a", "2")
    watch.serving(old)
    watch.serving(new)
    for _ in range(DRIFT_EVERY):
        watch.batch_done(old, batch())

    assert metrics.told == []
    assert len(old.drift) == 0


def test_a_batch_without_a_good_image_is_none_for_drift(metrics):
    watch, one = Watch(metrics), model("a")
    watch.serving(one)
    for _ in range(DRIFT_EVERY):
        watch.batch_done(one, batch(0))
    assert metrics.told == []
