"""Features mode below the run: torch only when something is new, and an export that can be proved."""

import numpy as np
import onnx
import pytest

from pictures import write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.errors import ConfigError, TooFewImages
from tellapart.inference import Engine
from tellapart.training.config import TrainConfig
from tellapart.training.fitted import evenly
from tellapart.training.frozen import FrozenLearner, FrozenNetwork

RESIZE = Resize(64)
CONFIG = TrainConfig(
    mode="features", backbone="timm:test_resnet", weights="none", image_size=64, device="cpu"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = write_class_folders(tmp_path_factory.mktemp("data"), {"a": 40, "b": 40})
    (root / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


@pytest.fixture(scope="module")
def prepared(folder):
    learner = FrozenLearner(CONFIG, RESIZE)
    return learner, learner.prepare(Dataset.from_folder(folder))


@pytest.fixture
def no_torch(monkeypatch):
    """Building the network now fails."""

    def build(self):
        raise AssertionError("the network was built again")

    monkeypatch.setattr(FrozenNetwork, "_build", build)


def exported(fitted, pixels):
    return Engine(fitted.graph(("a", "b")).SerializeToString())(pixels)


def test_the_exported_classifier_says_what_torch_and_the_kept_features_say(prepared):
    learner, dataset = prepared
    fitted = learner.learn(dataset, None, "")
    images, y_prob = fitted.witness(dataset, 64)
    assert len(images) >= 64
    np.testing.assert_allclose(exported(fitted, images.pixels(RESIZE)), y_prob, atol=1e-5)
    logits = fitted.logits(images) / fitted.choices.temperature
    np.testing.assert_allclose(np.exp(logits[:, 0] - logits[:, 1]), y_prob[:, 0] / y_prob[:, 1], rtol=1e-3)
    assert (fitted.logits(dataset).argmax(axis=1) == dataset.targets).mean() > 0.9


def test_temperature_and_threshold_are_chosen_out_of_fold_or_on_validation_images(prepared):
    learner, dataset = prepared
    train, val = dataset.split(0.3)
    assert learner.learn(train, None, "").choices.chosen_on == "out-of-fold"
    choices = learner.learn(train, val, "").choices
    assert choices.chosen_on == choices.threshold.chosen_on == "validation"


def test_labels_change_no_feature(prepared, folder, no_torch):
    _, dataset = prepared
    relabelled = dataset.merged({"z": ["a"]})
    learner = FrozenLearner(CONFIG, RESIZE)
    np.testing.assert_array_equal(
        learner.learn(learner.prepare(dataset), None, "").features.of(dataset),
        learner.learn(learner.prepare(relabelled), None, "").features.of(relabelled),
    )


def test_a_second_run_needs_no_torch(prepared, folder, no_torch):
    learner = FrozenLearner(CONFIG, RESIZE)
    dataset = learner.prepare(Dataset.from_folder(folder))
    fitted = learner.learn(dataset, None, "")
    images, _ = fitted.witness(dataset, 64)
    assert len(images) >= 64
    assert fitted.features.n_computed == 0
    assert onnx.load_from_string(fitted.graph(("a", "b")).SerializeToString())


def test_a_head_for_comparison_only_is_proved_when_it_is_asked(prepared, folder):
    learner = FrozenLearner(CONFIG, RESIZE, will_export=False)
    dataset = learner.prepare(Dataset.from_folder(folder))
    images, y_prob = learner.learn(dataset, None, "").witness(dataset, 10)
    assert [s.id for s in images.samples] == [s.id for s in evenly(dataset, 10).samples]
    assert y_prob.shape == (10, 2)


def test_files_that_cannot_be_read_are_no_witnesses(tmp_path):
    folder = write_class_folders(tmp_path / "data", {"a": 8, "b": 8})
    dataset = Dataset.from_folder(folder)
    for sample in dataset.samples[2:14:2]:
        sample.path.write_bytes(b"")
    learner = FrozenLearner(CONFIG, RESIZE)
    used = learner.prepare(dataset)
    images, y_prob = learner.learn(used, None, "").witness(used, 64)
    assert [sample.id for sample in images.samples] == [sample.id for sample in used.samples]
    assert y_prob.shape == (10, 2)


def test_a_class_with_one_image_cannot_be_cross_validated(prepared):
    learner, dataset = prepared
    with pytest.raises(TooFewImages, match="needs 2 of each"):
        learner.learn(dataset.subset([0, 1, 2, 79]), None, "")


def test_a_gpu_that_is_not_there_is_told_before_any_work(folder, monkeypatch):
    monkeypatch.setattr("tellapart.training.device.gpu_available", lambda: False)
    config = TrainConfig(mode="features", backbone="timm:test_resnet", weights="none", device="cuda")
    with pytest.raises(ConfigError, match="no CUDA device"):
        FrozenLearner(config, RESIZE).prepare(Dataset.from_folder(folder))
