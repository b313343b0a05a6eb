"""`tellapart check`, as it is typed."""

import json

import pytest
from PIL import Image

import tellapart as ta
from pictures import solid, write_class_folders
from tellapart import api
from tellapart.audit.check import WITHOUT_NETWORK
from tellapart.cli.app import run
from tellapart.errors import MissingExtra
from tellapart.training import evidence
from tellapart.training.config import TrainConfig
from tellapart.training.evidence import FrozenEvidence


@pytest.fixture
def small(monkeypatch):
    """As where the training half is not installed, which is quicker too."""

    def missing():
        raise MissingExtra("training needs torch: pip install 'tellapart[train]'")

    monkeypatch.setattr(api, "need_extra", missing)


def test_findings_are_shown_and_written(photos, tmp_path, capsys, small):
    assert run(["check", str(photos), "--json", str(tmp_path / "check.json")]) == 0
    shown = capsys.readouterr().out
    assert "80 images: benign (40), malignant (40)" in shown
    assert "error: unreadable file" in shown
    assert "benign/broken.jpg cannot be read" in shown
    assert f"not looked at: {WITHOUT_NETWORK}: training needs torch" in shown
    written = json.loads((tmp_path / "check.json").read_text())
    assert written["n_samples"] == 80
    assert written["findings"][0]["sample_ids"] == ["benign/broken.jpg"]


def test_images_are_named_where_the_message_names_none(tmp_path, capsys, small):
    folder = write_class_folders(tmp_path / "data", {"a": 20, "b": 20})
    for number in range(5):
        solid("black").save(folder / "a" / f"black{number}.png")
    assert run(["check", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "(a/black0.png, a/black1.png, a/black2.png and 2 more)" in shown


def test_strict_ends_with_one_where_figures_would_be_wrong(photos, capsys, small):
    assert run(["check", str(photos), "--strict"]) == 1
    assert "error: 1 error that makes figures wrong" in capsys.readouterr().err


@pytest.fixture
def sound(tmp_path):
    return write_class_folders(tmp_path / "sound", {"cat": 20, "dog": 20})


def test_strict_passes_what_is_sound_or_only_noteworthy(sound, tmp_path, small):
    (sound / "cat" / "notes.txt").write_text("left out on purpose")
    assert run(["check", str(sound), "--strict"]) == 0
    one = write_class_folders(tmp_path / "one", {"cat": 20})
    assert run(["check", str(one), "--strict"]) == 0


def test_strict_fails_on_a_link_that_leads_nowhere(sound, capsys, small):
    (sound / "cat" / "gone.jpg").symlink_to(sound / "unmounted" / "gone.jpg")
    assert run(["check", str(sound), "--strict"]) == 1
    assert "cat/gone.jpg cannot be read (broken link: no such file)" in capsys.readouterr().out


def test_strict_fails_on_a_leak(tmp_path, capsys, small):
    for seed, part in enumerate(("train", "test")):
        write_class_folders(tmp_path / part, {"cat": 20, "dog": 20}, seed=seed)
    assert run(["check", str(tmp_path), "--strict"]) == 0
    Image.open(tmp_path / "train" / "cat" / "000.png").rotate(180).save(
        tmp_path / "test" / "cat" / "copy.png"
    )
    assert run(["check", str(tmp_path), "--strict"]) == 1
    shown = capsys.readouterr().out
    assert "error: leak" in shown
    assert "test/cat/copy.png, train/cat/000.png" in shown
    assert "tellapart split DATA --anew --out FILE" in shown


def test_copies_without_metadata_are_a_dataset(photos, tmp_path, capsys, small):
    assert run(["check", str(photos), "--strip", str(tmp_path / "copies")]) == 0
    assert "80 copies without metadata" in capsys.readouterr().out
    assert ta.Dataset.load(tmp_path / "copies" / "manifest.csv").counts == {"benign": 40, "malignant": 40}


def test_copies_inside_the_data_are_refused(photos, capsys):
    assert run(["check", str(photos), "--strip", str(photos / "copies")]) == 1
    assert "would become a part" in capsys.readouterr().err
    assert not (photos / "copies").exists()


@pytest.mark.parametrize("data", ["nowhere", "nowhere.csv"])
def test_missing_data_are_one_line(tmp_path, capsys, data):
    assert run(["check", str(tmp_path / data)]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_the_default_network_judges_labels(photos, monkeypatch):
    small = FrozenEvidence(TrainConfig(mode="features", image_size=64))  # its export is at hand in tests
    monkeypatch.setattr(evidence, "FrozenEvidence", lambda: small)
    audit = ta.check(ta.Dataset.load(photos))
    assert audit.left_out == ()
    assert audit.of_kind("unreadable file")
    assert not audit.of_kind("suspected label")
