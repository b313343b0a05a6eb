"""A bundle is written only when its model gives the trained network's answers; its card says what it is."""

import numpy as np
import pytest
from safetensors.numpy import load, save

import tellapart as ta
from graphs import mean_colour_featurizer
from pictures import write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.drift import summarise
from tellapart.errors import BundleError, ExportError
from tellapart.evaluation.calibration import softmax
from tellapart.evaluation.estimate import Estimate
from tellapart.records import Threshold
from tellapart.training.config import TrainConfig
from tellapart.training.fitted import Choices, evenly
from tellapart.training.graph import attach_head
from tellapart.training.package import package, versions

RESIZE = Resize(32)
WEIGHT = np.array([[4.0, 0, 0], [0, 4.0, 0]], np.float32)


CHOICES = Choices(2.0, Threshold(0.4, "b", "validation", "Youden's index"), "validation")


class Colourist:
    """Tells red from green by the mean colour; `error` is how far off its witness is."""

    def __init__(self, error=0.0):
        self.choices, self.error, self.history, self.details = CHOICES, error, (), {"best_epoch": 3}

    def graph(self, class_names):
        return attach_head(mean_colour_featurizer(32), WEIGHT, [0, 0], 2.0, class_names)

    def weights(self):
        return save({"head.weight": WEIGHT})

    def witness(self, dataset, n_images):
        images = evenly(dataset, n_images)
        logits = (images.pixels(RESIZE).mean(axis=(1, 2)) / 255) @ WEIGHT.T.astype(float)
        return images, softmax(logits, self.choices.temperature) + self.error


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = write_class_folders(tmp_path_factory.mktemp("data"), {"a": 40, "b": 40}, size=(32, 32))
    return Dataset.from_folder(folder).with_hashes()


def packed(dataset, folder, fitted=None, config=None, figures=None):
    return package(
        fitted or Colourist(),
        folder,
        config=config or TrainConfig(),
        resize=RESIZE,
        train=dataset.subset(range(20, 60)),
        used=dataset,
        figures=figures or {},
    )


def test_the_bundle_opens_and_answers_as_the_trained_one(dataset, tmp_path):
    bundle = packed(dataset, tmp_path / "model", figures={"accuracy": Estimate(0.9, (0.8, 0.95), "exact")})
    assert ta.load(tmp_path / "model").bundle == bundle
    images, y_prob = Colourist().witness(dataset, 80)
    said = ta.load(tmp_path / "model").predict([sample.path for sample in images.samples])
    np.testing.assert_allclose(said.y_prob, y_prob, atol=1e-5)
    np.testing.assert_array_equal(load(bundle.weights_path.read_bytes())["head.weight"], WEIGHT)


def test_the_card_says_what_was_trained_chosen_and_proved(dataset, tmp_path):
    figures = {"accuracy": Estimate(0.9, (0.8, 0.95), "exact")}
    card = packed(dataset, tmp_path / "model", figures=figures).card
    assert card.class_names == ("a", "b")
    assert card.preprocessing == RESIZE
    assert (card.temperature, card.threshold) == (CHOICES.temperature, CHOICES.threshold)
    assert card.parity["n_images"] == 64
    assert 0 <= card.parity["max_difference"] < 1e-5
    assert card.dataset["counts"] == {"a": 20, "b": 20}
    assert card.dataset["fingerprint"] == dataset.subset(range(20, 60)).fingerprint
    assert card.config["chosen_best_epoch"] == 3
    assert card.figures["accuracy"]["value"] == 0.9
    assert card.precision == "fp32"
    readme = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "| accuracy | 0.900 | 0.800–0.950 |" in readme


@pytest.mark.parametrize(
    ("weights", "named", "licence"),
    [("imagenet", "efficientnet-lite1", "Apache-2.0"), ("mine.pth", "mine.pth", "the user's own")],
)
def test_the_licence_belongs_to_the_weights_that_were_used(dataset, tmp_path, weights, named, licence):
    backbone = packed(dataset, tmp_path / "model", config=TrainConfig(weights=weights)).card.backbone
    assert backbone["name"] == "efficientnet_lite1"
    assert backbone["weights"].startswith(named)
    assert backbone["weights_licence"] == licence


def test_validation_images_are_what_services_compare_theirs_with(dataset, tmp_path):
    train, val = dataset.subset(range(20, 60)), dataset.subset([*range(10), *range(70, 80)])
    folder, made = tmp_path / "m", {"config": TrainConfig(), "resize": RESIZE, "figures": {}}
    card = package(Colourist(), folder, train=train, used=dataset, val=val, **made).card
    y_prob = ta.load(folder).predict([sample.path for sample in val.samples]).y_prob
    expected = summarise(val.pixels(RESIZE), y_prob, ("a", "b"), images_from="validation images")
    measures, wanted = (reference.pop("measures") for reference in (dict(card.reference), expected))
    assert {**card.reference, "measures": None} == {**expected, "measures": None}
    assert card.reference["n_images"] == 20
    for name, measure in wanted.items():
        assert measures[name]["edges"] == pytest.approx(measure["edges"], abs=1e-6)
        assert measures[name]["counts"] == measure["counts"]
    without = package(Colourist(), tmp_path / "n", train=train, used=dataset, **made).card
    assert without.reference["images_from"] == "training and test images"


def test_fewer_images_than_wanted_are_all_compared(dataset, tmp_path):
    few = dataset.subset([0, 1, 41])
    card = package(
        Colourist(), tmp_path / "m", config=TrainConfig(), resize=RESIZE, train=few, used=few, figures={}
    ).card
    assert card.parity["n_images"] == 3
    assert "No test set" in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("error", [2e-4, float("nan")])
def test_a_model_that_differs_from_the_trained_one_is_no_bundle(dataset, tmp_path, error):
    with pytest.raises(ExportError, match="differs from the trained network"):
        packed(dataset, tmp_path / "model", Colourist(error=error))
    with pytest.raises(BundleError, match="no model at"):
        ta.load(tmp_path / "model")


def test_versions_name_everything_that_took_part():
    found = versions()
    assert {"python", "torch", "onnx", "onnxruntime", "scikit-learn", "numpy", "pillow"} <= set(found)
    assert all(number[0].isdigit() for number in found.values())
