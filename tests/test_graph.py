"""A head on a featurizer that can be worked out by hand; no torch takes part."""

import json

import numpy as np
import onnx
import pytest

from graphs import mean_colour_featurizer
from tellapart.errors import ExportError
from tellapart.inference import Engine
from tellapart.training.graph import attach_head, check_parity

LN2 = np.log(2)
WEIGHT = np.array([[1, 0, 0], [0, 1, 0]]) * 2 * LN2
"""With a temperature of 1: logits of twice ln 2 for a picture as red (or green) as can be."""


def plain(red, green, blue):
    return np.broadcast_to(np.uint8([red, green, blue]), (1, 8, 8, 3)).copy()


@pytest.mark.parametrize(
    ("pixels", "bias", "temperature", "expected"),
    [
        (plain(255, 0, 0), [0, 0], 1.0, [4 / 5, 1 / 5]),
        (plain(255, 0, 0), [0, 0], 2.0, [2 / 3, 1 / 3]),
        (plain(0, 0, 255), [LN2, 0], 1.0, [2 / 3, 1 / 3]),
        (plain(255, 255, 9), [0, 0], 1.0, [1 / 2, 1 / 2]),
        (plain(0, 255, 0), [2 * LN2, 0], 1.0, [1 / 2, 1 / 2]),
    ],
)
def test_probabilities_worked_out_by_hand(pixels, bias, temperature, expected):
    model = attach_head(mean_colour_featurizer(), WEIGHT, bias, temperature)
    np.testing.assert_allclose(Engine(model.SerializeToString())(pixels)[0], expected, atol=1e-6)


def test_the_featurizer_itself_stays_as_it_was():
    featurizer = mean_colour_featurizer()
    before = featurizer.SerializeToString()
    model = attach_head(featurizer, WEIGHT, [0, 0], 1.0, ["rot", "grün"])
    assert featurizer.SerializeToString() == before
    onnx.checker.check_model(model, full_check=True)
    assert [output.name for output in model.graph.output] == ["probabilities"]
    assert {p.key: json.loads(p.value) for p in model.metadata_props} == {"class_names": ["rot", "grün"]}


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_above_zero(temperature):
    with pytest.raises(ExportError, match="must be above 0"):
        attach_head(mean_colour_featurizer(), WEIGHT, [0, 0], temperature)


def test_parity_is_the_largest_difference_over_all_images(tmp_path):
    onnx.save(attach_head(mean_colour_featurizer(), WEIGHT, [0, 0], 1.0), tmp_path / "model.onnx")
    pixels = np.concatenate([plain(255, 0, 0)] * 6)
    expected = np.tile([0.8, 0.2], (6, 1))
    expected[4] = [0.8 - 7e-5, 0.2 + 7e-5]
    parity = check_parity(tmp_path / "model.onnx", expected, pixels)
    assert parity.n_images == 6
    assert parity.max_difference == pytest.approx(7e-5, rel=0.01)
    with pytest.raises(ExportError, match=r"differs from the trained network by 7e-05 .* at most 1e-05"):
        check_parity(tmp_path / "model.onnx", expected, pixels, tolerance=1e-5)
