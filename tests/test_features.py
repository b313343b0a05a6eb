"""Features are computed once per content, kept through interruptions, and never without the right key."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import encode, solid, write_class_folders
from tellapart.data import survey
from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.training.config import TrainConfig
from tellapart.training.features import cached_network_file, featurise, network_key

RESIZE = Resize(32)


class MeanColour:
    """A featurizer that counts its images, and can be interrupted."""

    def __init__(self, fails_after=10**9):
        self.n_images, self.fails_after = 0, fails_after

    def __call__(self, pixels):
        self.n_images += len(pixels)
        if self.n_images > self.fails_after:
            raise KeyboardInterrupt
        return pixels.mean(axis=(1, 2)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, fresh_cache):
    return write_class_folders(tmp_path / "data", {"a": 7, "b": 6})


def test_rows_are_in_the_order_of_any_dataset(folder):
    dataset, features = featurise(Dataset.from_folder(folder), MeanColour(), RESIZE, "key", workers=3)
    assert all(sample.sha256 for sample in dataset.samples)
    expected = dataset.pixels(RESIZE).mean(axis=(1, 2))
    np.testing.assert_allclose(features.of(dataset), expected, rtol=1e-6)
    part = dataset.subset([11, 2])
    np.testing.assert_allclose(features.of(part), expected[[2, 11]], rtol=1e-6)
    assert features.n_computed == 13


def test_what_is_known_is_not_computed_again(folder):
    _, first = featurise(Dataset.from_folder(folder), MeanColour(), RESIZE, "key")
    (folder / "a" / "new.png").write_bytes(encode(solid("teal")))
    (folder / "b" / "000.png").rename(folder / "b" / "renamed.png")
    featurizer = MeanColour()
    dataset, second = featurise(Dataset.from_folder(folder), featurizer, RESIZE, "key")
    assert (featurizer.n_images, second.n_computed) == (1, 1)
    for digest, row in first.rows.items():
        np.testing.assert_array_equal(second.rows[digest], row)
    assert second.of(dataset).shape == (14, 3)


@pytest.mark.parametrize(
    ("resize", "key"), [(RESIZE, "other"), (Resize(64), "key"), (Resize(32, "crop"), "key")]
)
def test_another_network_size_or_fit_has_features_of_its_own(folder, resize, key):
    featurise(Dataset.from_folder(folder), MeanColour(), RESIZE, "key")
    _, other = featurise(Dataset.from_folder(folder), MeanColour(), resize, key)
    assert other.n_computed == 13


def test_bad_files_move_to_the_ledger_known_or_not(folder):
    (folder / "a" / "empty.jpg").touch()
    (folder / "b" / "cut.png").write_bytes((folder / "b" / "000.png").read_bytes()[:60])
    for _ in range(2):
        dataset, features = featurise(Dataset.from_folder(folder), MeanColour(), RESIZE, "key")
        reasons = {entry.path: entry.reason for entry in dataset.ledger}
        assert set(reasons) == {"a/empty.jpg", "b/cut.png"}
        assert reasons["a/empty.jpg"] == "empty file"
        assert "damaged" in reasons["b/cut.png"]
        assert len(features.of(dataset)) == len(dataset) == 13


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_says_so(folder):
    (folder / "a" / "000.png").chmod(0)
    dataset, _ = featurise(Dataset.from_folder(folder), MeanColour(), RESIZE, "key")
    assert [(e.path, e.reason) for e in dataset.ledger] == [("a/000.png", "permission denied")]


def test_a_file_that_vanished_since_the_scan_is_only_left_out(folder):
    dataset = Dataset.from_folder(folder)
    (folder / "a" / "000.png").unlink()
    kept, _ = featurise(dataset, MeanColour(), RESIZE, "key")
    assert [(e.path, e.reason) for e in kept.ledger] == [("a/000.png", "no such file or directory")]


def test_an_interruption_costs_only_what_was_not_written_yet(folder, monkeypatch):
    monkeypatch.setattr(survey, "COMMIT_EVERY", 2)
    with pytest.raises(KeyboardInterrupt):
        featurise(Dataset.from_folder(folder), MeanColour(8), RESIZE, "key", chunk_size=2, workers=1)
    _, features = featurise(Dataset.from_folder(folder), MeanColour(), RESIZE, "key")
    assert 0 < features.n_computed < 13


def test_no_image_has_no_features(fresh_cache):
    dataset, features = featurise(Dataset((), ("a", "b")), MeanColour(), RESIZE, "key")
    assert (len(dataset), features.n_computed, features.rows) == (0, 0, {})


def test_a_networks_key_follows_all_that_its_features_depend_on(tmp_path):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"1")
    config = TrainConfig()
    configs = [
        config,
        replace(config, backbone="resnet18"),
        replace(config, weights="none"),
        replace(config, weights="none", seed=1),
        replace(config, weights=str(weights)),
    ]
    keys = [network_key(c, 224) for c in configs] + [network_key(config, 256)]
    weights.write_bytes(b"2")
    keys.append(network_key(configs[-1], 224))
    assert len(set(keys)) == len(keys)
    moved = weights.rename(tmp_path / "moved.pth")
    assert network_key(replace(config, weights=str(moved)), 224) == keys[-1]


def test_a_networks_key_ignores_what_only_the_head_depends_on():
    config = TrainConfig()
    for other in (replace(config, head="svm"), replace(config, seed=5), replace(config, balance=True)):
        assert network_key(other, 224) == network_key(config, 224)


def test_a_networks_file_is_made_once(fresh_cache):
    made = []
    for _ in range(2):
        content = cached_network_file("net.onnx", lambda: made.append(1) or b"graph")
        assert content == b"graph"
    assert len(made) == 1
    assert Path(fresh_cache, "networks", "net.onnx").read_bytes() == b"graph"


def test_the_pass_that_computes_features_leaves_what_near_duplicates_need(tmp_path, fresh_cache, monkeypatch):
    folder = write_class_folders(tmp_path / "data", {"a": 3, "b": 3})
    Image.open(folder / "a" / "000.png").rotate(180).save(folder / "b" / "copy.png")
    prepared, _ = featurise(Dataset.from_folder(folder), MeanColour(), RESIZE, "key")
    monkeypatch.setattr("tellapart.data.survey.decode", None)
    (pair,) = prepared.with_near_duplicates().near
    assert pair[:2] == ("a/000.png", "b/copy.png")
