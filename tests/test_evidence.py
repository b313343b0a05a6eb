"""Evidence for a check: the features that training keeps, and probabilities from models that did not look."""

import shutil

import numpy as np
import pytest

import tellapart as ta
from pictures import write_class_folders
from tellapart import api
from tellapart.audit.check import WITHOUT_NETWORK
from tellapart.audit.inspection import inspect
from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.errors import WeightsError
from tellapart.training import evidence as module
from tellapart.training.config import TrainConfig
from tellapart.training.evidence import FrozenEvidence
from tellapart.training.frozen import FrozenLearner

CONFIG = TrainConfig(mode="features", image_size=64, device="cpu")


@pytest.fixture(scope="module")
def evidence() -> FrozenEvidence:
    return FrozenEvidence(CONFIG)


def noise(n=60, n_features=20, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_features)).astype(np.float32)


def test_check_and_training_keep_the_same_features_and_use_each_others(
    evidence, tmp_path, own_cache, fresh_cache
):
    shutil.copytree(own_cache / "networks", fresh_cache / "networks")  # exporting one takes seconds
    dataset = Dataset.load(write_class_folders(tmp_path / "data", {"a": 5, "b": 4}))
    assert inspect(dataset.subset([0, 1, 5]), evidence.network).n_computed == 3
    learner = FrozenLearner(CONFIG, Resize(64))
    prepared = learner.prepare(dataset)
    assert learner._features.n_computed == 6
    again = inspect(dataset, evidence.network)
    assert again.n_computed == 0  # training has kept descriptors and looks as well
    np.testing.assert_array_equal(again.features, learner._features.of(prepared))


def test_probabilities_are_those_of_models_that_did_not_see_the_image(evidence):
    """Labels at random cannot be told from noise, unless a model has seen them."""
    y = np.arange(60) % 2
    y_prob = evidence.out_of_fold(noise(), y, list(range(60)), 2)
    assert y_prob.shape == (60, 2)
    np.testing.assert_allclose(y_prob.sum(axis=1), 1)
    assert np.mean(y_prob.argmax(axis=1) == y) < 0.75


def test_copies_do_not_vouch_for_one_another(evidence):
    """Each image lies there twice: only with ties is its copy kept from telling its label."""
    features, y = np.repeat(noise(40, 60), 2, axis=0), np.repeat(np.arange(40) % 2, 2)
    untied = evidence.out_of_fold(features, y, list(range(80)), 2)
    tied = evidence.out_of_fold(features, y, np.repeat(np.arange(40), 2).tolist(), 2)
    assert np.mean(untied.argmax(axis=1) == y) > 0.8
    assert np.mean(tied.argmax(axis=1) == y) < 0.7


def test_without_weights_everything_else_is_checked(photos, monkeypatch):
    def unavailable():
        raise WeightsError("the weights are not installed")

    monkeypatch.setattr(module, "FrozenEvidence", unavailable)
    audit = api.check(Dataset.load(photos))
    assert audit.left_out == (f"{WITHOUT_NETWORK}: the weights are not installed",)
    assert audit.of_kind("unreadable file")


def test_check_is_a_verb_of_the_package():
    assert ta.check is api.check
