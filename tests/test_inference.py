"""The classifier over onnxruntime: the same answer by path, bytes, folder and pixels."""

import json
import shutil

import numpy as np
import pytest

import tellapart as ta
from pictures import write_class_folders
from tellapart import inference
from tellapart.data.images import load_pixels
from tellapart.errors import BundleError, ClassMismatch, EmptyDataset, UnreadableImage


@pytest.fixture(scope="module")
def model(trained):
    return ta.load(trained.folder)


def test_paths_bytes_and_pixels_agree(model, photos):
    path = photos / "malignant" / "003.png"
    by_stream = next(iter(model.stream([path])))
    by_path, by_bytes = model.answer(path), model.answer(path.read_bytes())
    by_pixels = model.predict_proba(load_pixels(path, model.card.preprocessing)[None])[0]
    for answer in (by_path, by_bytes, by_stream):
        np.testing.assert_allclose(answer.y_prob, by_pixels, atol=1e-6)
    assert by_path.label == "malignant"
    assert by_path.probability == pytest.approx(by_pixels[1], abs=1e-6)


def test_answers_keep_the_order_and_name_what_cannot_be_read(model, photos):
    paths = sorted((photos / "benign").iterdir())[:9]
    paths[4:4] = [photos / "benign" / "broken.jpg", photos / "nowhere.png"]
    answers = list(model.stream(paths))
    assert [a.source for a in answers] == [str(p) for p in paths]
    assert [i for i, a in enumerate(answers) if a.reason] == [4, 5]
    assert answers[5].reason == "no such file or directory"


def test_predict_returns_probabilities_and_what_was_skipped(model, photos):
    predictions = model.predict([photos / "benign" / "000.png", photos / "benign" / "broken.jpg"])
    assert predictions.y_prob.shape == (1, 2)
    assert predictions.y_true.tolist() == [-1]
    assert predictions.skipped[0].path.endswith("broken.jpg")
    with pytest.raises(UnreadableImage, match="none of the 1 images can be read"):
        model.predict([photos / "nowhere.png"])


def test_the_threshold_decides_two_classes(model, photos, monkeypatch):
    answer = model.answer(photos / "malignant" / "000.png")
    threshold = model.card.threshold
    assert (answer.y_prob[1] >= threshold.value) == (answer.label == threshold.positive)


def test_a_class_that_the_model_does_not_know(model, tmp_path):
    other = ta.Dataset.from_folder(write_class_folders(tmp_path, {"benign": 2, "unsure": 2}))
    with pytest.raises(ClassMismatch, match="does not know the class 'unsure'; it knows benign, malignant"):
        ta.evaluate(model, other)


def test_images_that_trained_the_model_are_left_out(trained, photos):
    dataset = ta.Dataset.from_folder(photos)
    assert len(ta.evaluate(trained.folder, dataset).predictions) == 24
    assert len(ta.evaluate(trained.folder, dataset, include_training=True).predictions) == 80
    seen = ta.evaluate(trained.folder, dataset).predictions.sample_ids
    rest = dataset.subset(
        i for i, s in enumerate(dataset.samples) if s.id not in seen and "broken" not in s.id
    )
    with pytest.raises(EmptyDataset, match="all 56 images of"):
        ta.evaluate(trained.folder, rest)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.json").write_text("{"), "model.json is damaged"),
        (lambda folder: (folder / "model.json").write_text('{"format": 99}'), "format 99"),
        (lambda folder: (folder / "model.onnx").unlink(), "no model.onnx"),
        (lambda folder: (folder / "model.json").unlink(), "no model at"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"x" * 99), "model.onnx is damaged"),
    ],
)
def test_a_damaged_bundle_is_one_clear_error(trained, photos, tmp_path, damage, message):
    folder = shutil.copytree(trained.folder / "model", tmp_path / "model")
    damage(folder)
    with pytest.raises(BundleError, match=message):
        ta.load(folder).answer(photos / "benign" / "000.png")


def test_a_bundle_holds_no_pickle(trained):
    names = {path.name for path in (trained.folder / "model").iterdir()}
    assert names == {"model.onnx", "weights.safetensors", "model.json", "README.md"}
    card = (trained.folder / "model" / "README.md").read_text()
    assert "Not a medical device" in card
    assert "malignant" in card


def test_a_fine_model_is_tested_with_joined_classes(tmp_path):
    folder = write_class_folders(tmp_path / "data", {"bcc": 10, "mel": 10, "nv": 10})
    run = ta.train(
        ta.Dataset.from_folder(folder),
        ta.TrainConfig(mode="features", image_size=64, test_size=0.4),
        tmp_path / "run",
    )
    joined = {"malignant": ["mel", "bcc"], "benign": ["nv"]}
    evaluation = ta.evaluate(run.model, ta.Dataset.from_folder(folder), merge=joined)
    fine = run.evaluation.predictions.y_prob
    assert evaluation.predictions.class_names == ("benign", "malignant")
    np.testing.assert_allclose(evaluation.predictions.y_prob[:, 1], fine[:, 0] + fine[:, 1], atol=1e-5)
    assert evaluation.threshold.chosen_on == "default"


def test_threads_share_one_engine(trained, photos, monkeypatch):
    built = []

    class Counted(inference.Engine):
        def __init__(self, *arguments, **keywords):
            built.append(keywords)
            super().__init__(*arguments, **keywords)

    monkeypatch.setattr(inference, "Engine", Counted)
    monkeypatch.setattr("tellapart.data.reader.n_cores", lambda: 8)
    model = ta.load(trained.folder)
    assert len(list(model.stream(sorted((photos / "malignant").glob("*.png"))))) == 40
    assert built == [{"threads": 1}]


def test_a_dataset_may_lack_a_class_of_the_model(model, trained, photos, tmp_path):
    only = write_class_folders(tmp_path / "data", {"benign": 6}, seed=3)
    evaluation = ta.evaluate(model, ta.Dataset.from_folder(only))
    assert evaluation.confusion_matrix.sum(axis=1).tolist() == [6, 0]
    assert np.isnan(evaluation.headline["sensitivity"])
    evaluation.save(tmp_path / "evaluation")
    assert json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["sensitivity"]["value"] is None


def test_a_split_file_of_another_program_beside_a_model_is_no_obstacle(trained, photos, tmp_path):
    shutil.copytree(trained.folder / "model", tmp_path / "model")
    (tmp_path / "split.csv").write_text("image,part\nbenign/000.png,train\n")
    assert len(ta.evaluate(tmp_path / "model", ta.Dataset.from_folder(photos)).predictions) == 80
