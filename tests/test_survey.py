"""One pass over the files: what is kept of a content does not depend on who asked for it first."""

import numpy as np
import pytest

from pictures import scene, write_class_folders
from tellapart.audit.inspection import inspect
from tellapart.audit.looks import LOOK
from tellapart.data import survey as module
from tellapart.data.cache import ContentCache
from tellapart.data.dataset import Dataset
from tellapart.data.duplicates import DESCRIPTOR
from tellapart.data.embedding import Network
from tellapart.data.images import Resize, decode, load_pixels
from tellapart.data.survey import survey
from tellapart.training.features import featurise


def mean_colour(pixels):
    return pixels.mean(axis=(1, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Dataset:
    """Photographs so large that how far a JPEG is reduced while it is decoded depends on what is wanted."""
    root = tmp_path_factory.mktemp("large")
    for label in ("a", "b"):
        (root / label).mkdir()
        scene(np.random.default_rng(ord(label)), (2600, 2000)).save(root / label / "photo.jpg")
    return Dataset.load(root)


FIRST = {
    "verified": lambda dataset: dataset.verified(),
    "a small network": lambda dataset: featurise(dataset, mean_colour, Resize(32), "small"),
    "a large network": lambda dataset: featurise(dataset, mean_colour, Resize(384), "large"),
    "a check": inspect,
    "near-duplicates": lambda dataset: dataset.with_near_duplicates(),
}


def test_what_is_kept_is_the_same_whoever_came_first(large, tmp_path, monkeypatch):
    kept = set()
    for number, first in enumerate(FIRST.values()):
        monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / f"cache {number}"))
        first(large)
        inspect(large)
        hashes = [sample.sha256 for sample in large.with_hashes().samples]
        caches = [ContentCache(reading.cache).get(hashes) for reading in (DESCRIPTOR, LOOK)]
        kept.add(tuple(cache[digest] for cache in caches for digest in hashes))
    assert len(kept) == 1


@pytest.mark.parametrize("size", [32, 224, 240, 384])
def test_a_network_sees_the_pixels_that_every_other_part_sees(large, size, fresh_cache):
    _, features = featurise(large, mean_colour, Resize(size), "key")
    seen = np.stack([load_pixels(sample.path, Resize(size)) for sample in large.samples])
    np.testing.assert_array_equal(np.stack(list(features.rows.values())), mean_colour(seen))


def test_a_file_is_decoded_twice_only_where_that_makes_a_difference(large, fresh_cache, monkeypatch):
    decoded = []
    monkeypatch.setattr(module, "decode", lambda *a, **o: decoded.append(1) or decode(*a, **o))
    monkeypatch.setattr(module, "load_pixels", lambda *a: decoded.append(1) or load_pixels(*a))
    for size, n in ((224, 2), (32, 4)):
        decoded.clear()
        survey(large, (), Network(f"f{size}", Resize(size), mean_colour), stage="reading")
        assert len(decoded) == n


def test_an_interruption_costs_only_what_was_not_written_yet(tmp_path, fresh_cache, monkeypatch):
    dataset = Dataset.load(write_class_folders(tmp_path / "data", {"a": 20, "b": 21}))
    monkeypatch.setattr(module, "COMMIT_EVERY", 2)
    n_seen = 0

    def interrupted(pixels):
        nonlocal n_seen
        n_seen += len(pixels)
        if n_seen > 30:
            raise KeyboardInterrupt
        return mean_colour(pixels)

    network = Network("f", Resize(32), interrupted)
    with pytest.raises(KeyboardInterrupt):
        survey(dataset, (DESCRIPTOR,), network, stage="reading", chunk_size=2, workers=1)
    n_seen = -100
    assert 0 < survey(dataset, (DESCRIPTOR,), network, stage="reading").n_computed < 41
