"""A whole run: split, learn, evaluate, package, and every file that is promised."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tellapart as ta
from pictures import write_class_folders
from tellapart.errors import ConfigError, SplitError, TooFewImages
from tellapart.training.config import TrainConfig
from tellapart.training.partition import apply_split

SMALL = {"mode": "features", "image_size": 64}


def test_a_run_leaves_the_promised_files(trained):
    for name in (
        "run.json",
        "split.csv",
        "model/model.onnx",
        "model/weights.safetensors",
        "model/model.json",
    ):
        assert (trained.folder / name).is_file(), name
    for name in ("report.html", "metrics.json", "predictions.csv"):
        assert (trained.folder / "evaluation" / name).is_file(), name


def test_the_classifier_has_learned(trained):
    assert len(trained.evaluation.predictions) == 24
    assert trained.evaluation.accuracy > 0.9
    assert trained.evaluation.accuracy.ci95[0] < trained.evaluation.accuracy


def test_bad_files_are_in_run_json_with_reasons(trained):
    record = json.loads((trained.folder / "run.json").read_text())
    assert record["status"] == "done"
    ledger = {entry["path"]: entry["reason"] for entry in record["data"]["ledger"]}
    assert set(ledger) == {"benign/broken.jpg", "malignant/notes.txt"}
    report = (trained.folder / "evaluation" / "report.html").read_text()
    assert "benign/broken.jpg" in report
    assert "malignant/notes.txt" in report


def test_the_exported_model_gives_the_figures_of_the_run(trained, photos):
    evaluation = ta.evaluate(trained.folder, ta.Dataset.from_folder(photos))
    assert evaluation.predictions.sample_ids == trained.evaluation.predictions.sample_ids
    np.testing.assert_allclose(
        evaluation.predictions.y_prob, trained.evaluation.predictions.y_prob, atol=1e-5
    )
    parity = trained.model.card.parity
    assert parity["n_images"] >= 64
    assert 0 <= parity["max_difference"] <= 1e-4


def test_metrics_json_holds_what_design_promises(trained):
    metrics = json.loads((trained.folder / "evaluation" / "metrics.json").read_text())
    assert metrics["n_samples"] == 24
    assert metrics["class_names"] == ["benign", "malignant"]
    for name in [
        "accuracy",
        "balanced_accuracy",
        "roc_auc_macro",
        "average_precision_macro",
        "mcc",
        "log_loss",
        "brier",
        "ece",
        "sensitivity",
        "specificity",
        "ppv",
        "npv",
    ]:
        assert set(metrics[name]) >= {"value", "ci95"}, name
    assert metrics["threshold_chosen_on"] == "out-of-fold"
    assert 0 < metrics["threshold"] < 1
    assert set(metrics["per_class"]["benign"]) >= {
        "precision",
        "recall",
        "specificity",
        "f1",
        "support",
        "roc_auc",
        "average_precision",
    }


def test_a_split_file_can_be_fed_back(trained, photos, tmp_path):
    dataset = apply_split(ta.Dataset.from_folder(photos).verified(), trained.folder / "split.csv")
    again = ta.train(dataset, TrainConfig(**SMALL, seed=99), tmp_path / "again")
    assert again.evaluation.predictions.sample_ids == trained.evaluation.predictions.sample_ids


def test_a_split_file_that_does_not_fit(trained, photos, tmp_path):
    dataset = ta.Dataset.from_folder(photos).verified()
    (tmp_path / "short.csv").write_text("path,label,split\nbenign/000.png,benign,train\n")
    with pytest.raises(SplitError, match="does not mention 79 of 80 images"):
        apply_split(dataset, tmp_path / "short.csv")
    with pytest.raises(SplitError, match="no split file"):
        apply_split(dataset, tmp_path / "none.csv")


def test_every_image_is_tested_once_by_folds(photos, tmp_path):
    run = ta.train(ta.Dataset.from_folder(photos), TrainConfig(**SMALL, folds=4), tmp_path / "run")
    assert len(run.evaluation.predictions) == 80
    metrics = json.loads((run.folder / "evaluation" / "metrics.json").read_text())
    assert len(metrics["folds"]["accuracy"]["values"]) == 4
    with (run.folder / "split.csv").open(newline="") as file:
        folds = [row["fold"] for row in csv.DictReader(file)]
    assert sorted(set(folds)) == ["1", "2", "3", "4"]
    dataset = apply_split(ta.Dataset.from_folder(photos).verified(), run.folder / "split.csv")
    again = ta.train(dataset, TrainConfig(**SMALL, folds=4, seed=5), tmp_path / "again")
    assert sorted(again.evaluation.predictions.sample_ids) == sorted(run.evaluation.predictions.sample_ids)
    assert [len(t) for t in (again.evaluation.predictions.sample_ids,)] == [80]


def test_a_test_folder_is_honoured_and_nothing_else_tests(tmp_path):
    for seed, (part, n) in enumerate((("train", 12), ("val", 6), ("test", 6))):
        write_class_folders(tmp_path / "data" / part, {"a": n, "b": n}, seed=seed)
    run = ta.train(ta.Dataset.from_folder(tmp_path / "data"), TrainConfig(**SMALL), tmp_path / "run")
    assert {i.split("/")[0] for i in run.evaluation.predictions.sample_ids} == {"test"}
    assert run.model.card.threshold.chosen_on == "validation"


def test_training_on_one_half_of_a_split_holds_nothing_back(tmp_path):
    dataset = ta.Dataset.from_folder(write_class_folders(tmp_path / "data", {"a": 12, "b": 12, "c": 12}))
    train, test = dataset.split(test_size=0.34, seed=0)
    run = ta.train(train, TrainConfig(**SMALL), tmp_path / "run")
    assert run.evaluation is None
    assert run.model.card.dataset["n_samples"] == len(train)
    evaluation = ta.evaluate(run.model, test)
    assert len(evaluation.predictions) == len(test)
    evaluation.save(tmp_path / "evaluation")
    assert (tmp_path / "evaluation" / "report.html").is_file()


def test_groups_are_disjoint_and_counted(tmp_path):
    folder = write_class_folders(tmp_path / "data", {"a": 20, "b": 20})
    rows = [
        {
            "path": p.relative_to(folder).as_posix(),
            "label": p.parent.name,
            "lesion": f"{p.parent.name}{i // 2}",
        }
        for i, p in enumerate(sorted(folder.rglob("*.png")))
    ]
    dataset = ta.Dataset.from_dataframe(pd.DataFrame(rows), folder)
    run = ta.train(dataset, TrainConfig(**SMALL, group_by="lesion"), tmp_path / "run")
    with (run.folder / "split.csv").open(newline="") as file:
        sides = {}
        for row in csv.DictReader(file):
            sides.setdefault(row["group"], set()).add(row["split"])
    assert len(sides) == 20
    assert all(len(side) == 1 for side in sides.values())
    assert run.details["disjoint_by"] == "lesion, file content and near-duplicates"


def test_identical_files_with_two_labels_are_reported(tmp_path):
    folder = write_class_folders(tmp_path / "data", {"a": 12, "b": 12})
    shutil.copy(folder / "a" / "000.png", folder / "b" / "same.png")
    run = ta.train(ta.Dataset.from_folder(folder), TrainConfig(**SMALL), tmp_path / "run")
    report = (run.folder / "evaluation" / "report.html").read_text()
    assert "identical files with different labels" in report
    assert "b/same.png" in report


def test_a_finished_run_is_not_written_over(trained, photos):
    with pytest.raises(ConfigError, match="holds a finished run, it is not written over"):
        ta.train(ta.Dataset.from_folder(photos), TrainConfig(**SMALL), trained.folder)
    with pytest.raises(ConfigError, match="nothing to resume"):
        ta.train(ta.Dataset.from_folder(photos), TrainConfig(**SMALL), trained.folder, resume=True)


def test_a_class_left_too_small_by_bad_files_is_one_error(tmp_path):
    folder = write_class_folders(tmp_path / "data", {"a": 12, "b": 3})
    (folder / "b" / "000.png").write_bytes(b"")
    with pytest.raises(TooFewImages, match="class 'b' has 2 usable images, at least 3"):
        ta.train(ta.Dataset.from_folder(folder), TrainConfig(**SMALL), tmp_path / "run")


def test_the_positive_class_can_be_chosen(photos, tmp_path):
    config = TrainConfig(**SMALL, positive="benign", target_sensitivity=0.95)
    run = ta.train(ta.Dataset.from_folder(photos), config, tmp_path / "run")
    threshold = run.model.card.threshold
    assert (threshold.positive, threshold.rule) == ("benign", "sensitivity of at least 0.95")
    with pytest.raises(ConfigError, match="positive is 'sick'; the classes are benign, malignant"):
        ta.train(ta.Dataset.from_folder(photos), TrainConfig(**SMALL, positive="sick"), tmp_path / "no")


def test_a_second_head_needs_no_second_pass(photos, tmp_path, monkeypatch):
    from tellapart.training import frozen

    def no_pass(graph):
        def fail(pixels):
            raise AssertionError("features were computed again")

        return fail

    ta.train(ta.Dataset.from_folder(photos), TrainConfig(**SMALL), tmp_path / "first")
    monkeypatch.setattr(frozen, "graph_featurizer", no_pass)
    run = ta.train(ta.Dataset.from_folder(photos), TrainConfig(**SMALL, head="svm"), tmp_path / "second")
    assert run.evaluation.accuracy > 0.9


def test_a_given_split_with_a_copy_on_both_sides_is_refused_unless_it_is_wanted(tmp_path):
    for seed, (part, n) in enumerate((("train", 12), ("test", 6))):
        write_class_folders(tmp_path / "data" / part, {"a": n, "b": n}, seed=seed)
    image = Image.open(tmp_path / "data" / "train" / "a" / "000.png")
    image.rotate(90, expand=True).save(tmp_path / "data" / "test" / "a" / "turned.png")
    dataset = ta.Dataset.from_folder(tmp_path / "data")
    with pytest.raises(SplitError, match=r"1 × near-duplicate \(test/a/turned\.png = train/a/000\.png\)"):
        ta.train(dataset, TrainConfig(**SMALL), tmp_path / "run")
    run = ta.train(dataset, TrainConfig(**SMALL, allow_leaks=True), tmp_path / "run")
    assert run.details["disjoint_by"] == "file content"
    assert "near-duplicate on two sides" in (run.folder / "evaluation" / "report.html").read_text()
    blind = ta.train(dataset, TrainConfig(**SMALL, near_duplicates=False), tmp_path / "blind")
    assert "near-duplicate" not in (blind.folder / "evaluation" / "report.html").read_text()
