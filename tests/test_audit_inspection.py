"""One pass over the files: what it gives does not depend on threads, caches or interruptions."""

import numpy as np
import pytest

from pictures import write_class_folders
from tellapart.audit.inspection import inspect
from tellapart.audit.looks import look
from tellapart.data.dataset import Dataset
from tellapart.data.embedding import Network
from tellapart.data.images import Resize, decode
from tellapart.data.survey import DECODED_PX


class MeanColour:
    """A featurizer that can be interrupted."""

    def __init__(self, fails_after=10**9):
        self.n_images, self.fails_after = 0, fails_after

    def __call__(self, pixels):
        self.n_images += len(pixels)
        if self.n_images > self.fails_after:
            raise KeyboardInterrupt
        return pixels.mean(axis=(1, 2)).astype(np.float32)


@pytest.fixture
def dataset(tmp_path, fresh_cache) -> Dataset:
    root = write_class_folders(tmp_path / "data", {"a": 20, "b": 21})
    (root / "a" / "empty.png").touch()
    return Dataset.load(root)


@pytest.mark.parametrize("size", [32, DECODED_PX])
@pytest.mark.parametrize("workers", [1, 3])
def test_rows_are_in_the_order_of_the_dataset(dataset, size, workers):
    found = inspect(dataset, Network("f", Resize(size), MeanColour()), workers=workers)
    assert [entry.path for entry in found.dataset.ledger] == ["a/empty.png"]
    assert len(found.looks) == len(found.descriptors) == len(found.features) == len(found.dataset) == 41
    expected = found.dataset.pixels(Resize(size)).mean(axis=(1, 2))
    np.testing.assert_allclose(found.features, expected, rtol=1e-6)
    path = found.dataset.samples[7].path
    assert found.looks[7] == look(path.read_bytes(), decode(path, target_px=DECODED_PX))


def test_what_is_known_is_not_computed_again(dataset):
    assert inspect(dataset).n_computed == 41
    featurizer = MeanColour()
    later = inspect(dataset, Network("f", Resize(32), featurizer))
    assert (later.n_computed, featurizer.n_images) == (41, 41)  # only the features were missing
    again = inspect(dataset, Network("f", Resize(32), featurizer))
    assert (again.n_computed, featurizer.n_images) == (0, 41)
    assert again.looks == later.looks
    assert inspect(dataset).features is None


def test_no_image_is_no_trouble(fresh_cache):
    found = inspect(Dataset((), ("a", "b")), Network("f", Resize(32), MeanColour()))
    assert (len(found.looks), len(found.descriptors), len(found.features)) == (0, 0, 0)
