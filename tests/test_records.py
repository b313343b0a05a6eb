"""The records: shapes are checked, thresholds decide, classes join."""

from dataclasses import replace

import numpy as np
import pytest

from tellapart.errors import DataError
from tellapart.records import Predictions, Threshold, decide, refers


@pytest.fixture
def predictions():
    y_prob = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.2, 0.6, 0.2]])
    return Predictions(("x", "y", "z"), np.array([0, 2, -1]), y_prob, ("bcc", "mel", "nv"))


def test_probabilities_of_joined_classes_add_up(predictions):
    joined = predictions.merged({"malignant": ["bcc", "mel"], "benign": ["nv"]})
    assert joined.class_names == ("benign", "malignant")
    np.testing.assert_allclose(joined.y_prob, [[0.2, 0.8], [0.7, 0.3], [0.2, 0.8]])
    assert joined.y_true.tolist() == [1, 0, -1]


def test_classes_that_are_not_named_stay(predictions):
    assert predictions.merged({"other": ["mel", "nv"]}).class_names == ("bcc", "other")


@pytest.mark.parametrize(
    ("classes", "message"),
    [({"a": ["xx"]}, "'xx' is not a class"), ({"a": ["nv"], "b": ["nv"]}, "given twice")],
)
def test_a_wrong_join_is_refused(predictions, classes, message):
    with pytest.raises(DataError, match=message):
        predictions.merged(classes)


def test_from_the_lower_end_up_to_below_the_upper_one_a_person_decides():
    names, band = ("benign", "malignant"), (0.2, 0.6)
    threshold = Threshold(0.2, "malignant", "validation", "set by hand", band)
    for p, expected in ((0.19, False), (0.2, True), (0.59, True), (0.6, False)):
        assert refers(np.array([1 - p, p]), names, threshold) is expected
    assert refers(np.array([0.5, 0.5]), names, None) is False
    assert refers(np.array([0.5, 0.5]), names, replace(threshold, band=None)) is False


def test_the_threshold_decides_at_or_above():
    y_prob = np.array([[0.7, 0.3], [0.71, 0.29], [0.2, 0.8]])
    assert decide(y_prob, ("no", "yes"), Threshold(0.3, "yes", "validation", "")).tolist() == [1, 0, 1]
    assert decide(y_prob, ("no", "yes"), Threshold(0.705, "no", "validation", "")).tolist() == [1, 0, 1]
    assert decide(y_prob, ("no", "yes"), None).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_prob": np.ones((3, 3))}, "rows of y_prob must sum to 1"),
        ({"y_prob": np.ones((2, 3)) / 3}, r"y_prob has shape \(2, 3\), expected \(3, 3\)"),
        ({"y_true": np.zeros(2, dtype=int)}, r"y_true has shape \(2,\)"),
        ({"groups": ("a",)}, "1 groups for 3 samples"),
    ],
)
def test_wrong_shapes_are_refused(predictions, change, message):
    from dataclasses import replace

    with pytest.raises(DataError, match=message):
        replace(predictions, **change)
