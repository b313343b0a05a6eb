"""Exported copies: equal in fp32, in agreement in int8, refused otherwise."""

import json
import shutil

import numpy as np
import pytest

import tellapart as ta
from tellapart.errors import ConfigError, DataError, ExportError
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
