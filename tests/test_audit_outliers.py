"""Images that are like none."""

import numpy as np
import pytest

from made_up import made_up
from tellapart.audit import outliers as module
from tellapart.audit.neighbours import Neighbours
from tellapart.audit.outliers import findings, outliers


def crowd(n=300, n_features=32, seed=0):
    """Images of one kind: features around one direction."""
    rng = np.random.default_rng(seed)
    return (np.abs(rng.normal(1, 0.2, (n, n_features)))).astype(np.float32)


def foreign(n, n_features=32, seed=1):
    """Images of another kind, in the opposite half of the features."""
    rng = np.random.default_rng(seed)
    features = np.abs(rng.normal(1, 0.05, (n, n_features)))
    features[:, : n_features // 2] = 0
    return features.astype(np.float32)


@pytest.mark.parametrize("n_foreign", [1, 5, 9])
def test_foreign_images_are_found_even_if_they_are_alike(n_foreign):
    features = np.concatenate([crowd(), foreign(n_foreign)])
    y = np.arange(len(features)) % 2
    found, deviations = outliers(Neighbours(features), y)
    assert sorted(found) == list(range(300, 300 + n_foreign))
    assert (np.diff(deviations) <= 0).all()


def test_images_of_one_kind_have_no_outlier():
    assert len(outliers(Neighbours(crowd()), np.zeros(300, np.int64))[0]) == 0
    assert len(outliers(Neighbours(np.ones((300, 4), np.float32)), np.zeros(300, np.int64))[0]) == 0


def test_a_rare_class_is_not_foreign():
    features = np.concatenate([crowd(), foreign(6)])
    y = np.repeat([0, 1], [300, 6])
    assert len(outliers(Neighbours(features), y)[0]) == 0


def test_few_images_tell_nothing():
    features = np.concatenate([crowd(20), foreign(1)])
    assert len(outliers(Neighbours(features), np.zeros(21, np.int64))[0]) == 0


def test_many_images_are_measured_against_some_of_each_class(monkeypatch):
    monkeypatch.setattr(module, "MAX_REFERENCE", 40)
    y = np.repeat([0, 1], [290, 10])
    sample = module._sample(y, 40, seed=0)
    assert len(set(sample)) == 40
    assert (y[sample] == 1).sum() == 10
    features = np.concatenate([crowd(), foreign(2)])
    found, _ = outliers(Neighbours(features), np.append(y, [0, 0]))
    assert {300, 301} <= set(found)


def test_the_finding_names_them():
    features = np.concatenate([crowd(40), foreign(2)])
    dataset = made_up("a" * 30 + "b" * 12)
    (told,) = findings(dataset, Neighbours(features))
    assert (told.kind, told.severity) == ("outlier", "warning")
    assert set(told.sample_ids) == {"b/040", "b/041"}
    assert told.message.startswith("2 images are like no other")
    assert len(told.details["deviations"]) == 2
    assert findings(dataset, Neighbours(crowd(42))) == []
