"""An estimate is a number first."""

import copy
import json
import pickle

import pytest

from tellapart.evaluation.estimate import Estimate


def test_computes_compares_and_formats_as_a_number():
    estimate = Estimate(0.9, (0.8, 0.95), "Clopper-Pearson")
    assert estimate + 0.1 == pytest.approx(1.0)
    assert estimate > 0.85
    assert f"{estimate:.1%}" == "90.0%"
    assert json.dumps({"accuracy": estimate}) == '{"accuracy": 0.9}'


def test_shows_its_interval():
    assert repr(Estimate(0.9, (0.8, 0.95))) == "0.9000 [0.8000, 0.9500]"
    assert repr(Estimate(0.9)) == "0.9000"


def test_is_written_whole():
    estimate = Estimate(0.9, (0.8, 0.95), "Clopper-Pearson")
    assert estimate.to_dict() == {"value": 0.9, "ci95": [0.8, 0.95], "method": "Clopper-Pearson"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_defined_is_null(value):
    assert Estimate(value, None, "not defined").to_dict()["value"] is None


def test_survives_copying_and_pickling():
    estimate = Estimate(0.9, (0.8, 0.95), "Clopper-Pearson")
    for twin in (copy.deepcopy(estimate), pickle.loads(pickle.dumps(estimate))):
        assert twin.to_dict() == estimate.to_dict()
