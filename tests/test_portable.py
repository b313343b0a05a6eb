"""Exported copies: equal in fp32, in agreement in int8, refused otherwise."""

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import tellapart as ta
from tellapart.errors import ConfigError, DataError, ExportError
from tellapart.progress import SILENT
from tellapart.training import portable


def test_fp32_is_a_copy_that_stands_alone(trained, photos, tmp_path):
    bundle = ta.export(trained.folder, tmp_path / "out")
    assert bundle.model_sha256 == trained.model.bundle.model_sha256
    path = photos / "benign" / "001.png"
    np.testing.assert_array_equal(
        ta.load(tmp_path / "out").answer(path).y_prob, trained.model.answer(path).y_prob
    )


def test_int8_agrees_and_says_how_well(trained, tmp_path):
    bundle = ta.export(trained.folder, tmp_path / "int8", precision="int8", force=True)
    figures = bundle.card.quantisation
    assert figures["checked_on"] == "training images that did not calibrate"
    assert figures["n_calibration"] + figures["n_checked"] == 56
    assert figures["top1_agreement"] >= 0.9
    assert bundle.model_path.stat().st_size < 0.5 * trained.model.bundle.model_path.stat().st_size
    assert json.loads((tmp_path / "int8" / "model.json").read_text())["precision"] == "int8"
    with pytest.raises(ConfigError, match="int8 already"):
        ta.export(tmp_path / "int8", tmp_path / "again", precision="int8")


def test_too_little_agreement_leaves_nothing_behind(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(portable, "MIN_AGREEMENT", 1.01)
    with pytest.raises(ExportError, match="keep fp32, or --force"):
        ta.export(trained.folder, tmp_path / "int8", precision="int8")
    assert not (tmp_path / "int8").exists()


def test_int8_of_a_lone_bundle_needs_images(trained, photos, tmp_path):
    lone = shutil.copytree(trained.folder / "model", tmp_path / "lone")
    with pytest.raises(DataError, match="give labelled ones with --data"):
        ta.export(lone, tmp_path / "int8", precision="int8")
    data = ta.Dataset.from_folder(photos)
    bundle = ta.export(lone, tmp_path / "int8", precision="int8", data=data, force=True)
    assert bundle.card.precision == "int8"


def test_a_full_folder_is_not_written_into(trained, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(ConfigError, match="not empty"):
        ta.export(trained.folder, tmp_path / "out")


@pytest.fixture
def moved(trained, tmp_path):
    """The run and a copy of its images, to do things to."""
    run = shutil.copytree(trained.folder, tmp_path / "run")
    photos = shutil.copytree(trained.dataset.root, tmp_path / "photos")
    record = json.loads((run / "run.json").read_text())
    record["data"]["root"] = str(photos)
    (run / "run.json").write_text(json.dumps(record))
    return run, photos


def test_images_that_are_gone_are_left_out_and_counted(moved, tmp_path):
    run, photos = moved
    with (run / "split.csv").open(newline="") as file:
        trained_on = [row["path"] for row in csv.DictReader(file) if row["split"] == "train"]
    (photos / trained_on[0]).unlink()
    said = []
    progress = SimpleNamespace(say=said.append, track=SILENT.track)
    bundle = ta.export(run, tmp_path / "out", precision="int8", force=True, progress=progress)
    assert any("1 of the run's 56 images are not found" in line for line in said)
    assert bundle.card.quantisation["n_calibration"] + bundle.card.quantisation["n_checked"] == 55


def test_all_images_gone_or_a_damaged_run_is_one_clear_error(moved, tmp_path):
    run, photos = moved
    shutil.rmtree(photos)
    with pytest.raises(DataError, match="56 of the run's 56 images are no longer at"):
        ta.export(run, tmp_path / "out", precision="int8")
    (run / "split.csv").write_text("image\nx.png\n")
    with pytest.raises(DataError, match="is damaged"):
        ta.export(run, tmp_path / "out", precision="int8")
    assert not (tmp_path / "out").exists()


def test_names_in_another_unicode_form_are_found(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Mu\u0308hle.png").touch()
    found = portable._find(tmp_path, "a/M\u00fchle.png")
    assert found is not None
    assert found.is_file()
    assert portable._find(tmp_path, "a/gone.png") is None


def test_one_image_is_too_few_to_calibrate_and_check(trained, photos, tmp_path):
    data = ta.Dataset.from_folder(photos).subset([0])
    with pytest.raises(DataError, match="two readable images or more to calibrate and check; found 1"):
        ta.export(trained.folder, tmp_path / "int8", precision="int8", data=data)
