"""From what a user names to a desk."""

import csv
import json
import os
import shutil

import pytest

from pictures import write_class_folders
from tellapart.data.journal import Journal
from tellapart.errors import ConfigError, JournalError, TellapartError
from tellapart.studio import opening
from tellapart.studio.opening import Choices, open_desk


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("TELLAPART_JOURNAL", raising=False)
    monkeypatch.chdir(tmp_path)
    return write_class_folders(tmp_path / "photos", {"cat": 3, "dog": 3})


def desk_of(target, **choices):
    return open_desk(target, Choices(**{"actor": "ada", **choices}))[0]


def test_a_folder_with_all_that_is_usual(folder, tmp_path):
    desk, notes = open_desk(folder, Choices("ada"))
    assert len(desk.given) == 6
    assert desk.journal.path == folder / ".tellapart" / "labels.sqlite"
    assert (desk.runs, desk.examples) == (tmp_path / "runs", tmp_path / "examples")
    assert (desk.actor, desk.run, desk.read_only, notes) == ("ada", None, False, [])
    assert not desk.journal.path.exists()


def test_a_manifest(folder):
    manifest = folder / "photos.csv"
    manifest.write_text("path,label\ncat/000.png,tiger\ndog/000.png,wolf\n")
    desk = desk_of(manifest)
    assert desk.given.class_names == ("tiger", "wolf")
    assert desk.journal.path == folder / "photos.labels.sqlite"


def test_a_run_knows_its_images(trained, photos):
    desk = desk_of(trained.folder)
    assert desk.data == photos.resolve()
    assert desk.run == trained.folder
    assert desk.runs == trained.folder.parent
    assert desk.shelf.names()[0] == trained.folder.name


def test_a_run_trained_on_a_manifest_finds_it_again(trained, photos, tmp_path):
    """Among all that lies in the folder, it is the one that labels the images as the run had them."""
    from tellapart.api import train
    from tellapart.data.dataset import Dataset
    from tellapart.training.config import TrainConfig

    data = tmp_path / "data"
    shutil.copytree(photos, data)
    rows = [f"{label}/{i:03d}.png,{new}" for label, new in (("benign", "naevus"), ("malignant", "melanoma"))
            for i in range(40)]  # fmt: skip
    (data / "lesions.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    (data / "a-table.csv").write_text("patient,age\n1,50\n")
    config = TrainConfig(mode="features", image_size=64, test_size=0.3)
    train(Dataset.from_manifest(data / "lesions.csv"), config, tmp_path / "run")

    desk = desk_of(tmp_path / "run")
    assert desk.data == (data / "lesions.csv").resolve()
    assert desk.given.class_names == ("melanoma", "naevus")


def test_of_a_folder_and_a_manifest_of_the_same_labels_the_one_that_fits_is_taken(trained, photos, tmp_path):
    """By the groups that the run had; and if both have them, by what the command named."""
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(photos, data)
    shutil.copytree(trained.folder, run)
    record = json.loads((run / "run.json").read_text())
    record["data"]["root"] = str(data)
    rows = [f"{label}/{i:03d}.png,{label},lesion {i}" for label in ("benign", "malignant") for i in range(40)]

    def opened(column: str, **changes: object) -> str:
        (data / "lesions.csv").write_text("\n".join([f"path,label,{column}", *rows]) + "\n")
        (run / "run.json").write_text(json.dumps({**record, **changes}))
        return desk_of(run).data.name

    assert opened("group") == "data"
    assert opened("lesion") == "data"
    assert opened("lesion", command="tellapart train data/lesions.csv --out run") == "lesions.csv"

    split = list(csv.reader((run / "split.csv").open()))
    grouped = [[*row[:3], f"lesion {int(row[0][-7:-4])}", *row[4:]] for row in split[1:]]
    (run / "split.csv").write_text("\n".join(map(",".join, [split[0], *grouped])) + "\n")
    assert opened("group") == "lesions.csv"
    assert opened("lesion", config={**record["config"], "group_by": "lesion"}) == "lesions.csv"


def test_predictions_of_the_run_lie_beside_the_images(trained):
    desk = desk_of(trained.folder)
    predicted = [desk.catalog.item(i)["predicted"] for i in range(len(desk.given))]
    assert sum(name is not None for name in predicted) == len(trained.evaluation.predictions.sample_ids)


def test_further_runs_are_there_to_compare_with(trained, photos, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(trained.folder, other)
    desk = desk_of(photos, run=[other, trained.folder])
    assert desk.run == other
    assert desk.shelf.names()[:2] == ["other", trained.folder.name]


def test_a_run_whose_images_have_moved_says_how_to_name_them(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.folder, run)
    record = (run / "run.json").read_text()
    (run / "run.json").write_text(record.replace('/photos"', '/moved"'))
    with pytest.raises(
        ConfigError, match=r"moved, which is not there now; name them: `tellapart studio DATA --run"
    ):
        desk_of(run)
    (run / "run.json").unlink()
    with pytest.raises(ConfigError, match=r"is not finished .* name them: `tellapart studio DATA --run"):
        desk_of(run)
    (run / "run.json").write_text("{")
    with pytest.raises(TellapartError, match=r"run\.json cannot be read"):
        desk_of(run)


@pytest.mark.parametrize(
    ("target", "choices", "says"),
    [
        ("nowhere", {}, "there is nothing at nowhere; give a folder with one folder per class"),
        ("notes.txt", {}, "notes.txt is a file of another kind"),
        ("photos", {"run": ["photos"]}, "--run photos is no run"),
        (
            "photos",
            {"findings": "nothing.json"},
            "no findings at nothing.json; `tellapart check photos",
        ),
        ("photos", {"runs": "photos/runs"}, "--runs photos/runs lies in photos"),
        ("photos", {"examples": "photos/new"}, "--examples photos/new lies in photos"),
        ("photos", {"actor": " "}, "the user has 1 characters"),
    ],
)
def test_mistakes_are_explained(folder, tmp_path, target, choices, says):
    from pathlib import Path

    (tmp_path / "notes.txt").write_text("no picture")
    named = {key: Path(value) for key, value in choices.items() if isinstance(value, str) and key != "actor"}
    lists = {key: [Path(one) for one in value] for key, value in choices.items() if isinstance(value, list)}
    actor = {"actor": choices["actor"]} if "actor" in choices else {}
    with pytest.raises(ConfigError, match=says.replace("(", r"\(")):
        desk_of(Path(target), **named, **lists, **actor)


def test_a_model_without_its_run_is_told_from_data(trained):
    with pytest.raises(ConfigError, match="is a model without its run"):
        desk_of(trained.folder / "model")


def test_where_one_stands_in_the_data_what_comes_out_goes_beside_them(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder / "cat")
    desk = desk_of(folder)
    assert (desk.runs, desk.examples) == (tmp_path / "runs", tmp_path / "examples")


def unwritable(monkeypatch, *places) -> None:
    """Have the system say what it says of a read-only disk: root, who may write anywhere, never sees that."""
    usual = os.access

    def access(path, mode):
        below = any(str(path).startswith(str(place)) for place in places)
        return not (mode & os.W_OK and below) and usual(path, mode)

    monkeypatch.setattr(opening.os, "access", access)


def test_data_that_may_only_be_read_make_a_studio_that_only_reads_and_says_so(folder, monkeypatch):
    unwritable(monkeypatch, folder)
    desk, notes = open_desk(folder, Choices("ada"))
    assert desk.read_only
    assert "name another place with --journal FILE or TELLAPART_JOURNAL" in notes[0]


def test_data_that_may_only_be_read_are_relabelled_in_a_journal_elsewhere(folder, tmp_path, monkeypatch):
    unwritable(monkeypatch, folder)
    desk, notes = open_desk(folder, Choices("ada", journal=tmp_path / "notes" / "labels.sqlite"))
    assert (desk.read_only, notes) == (False, [])
    monkeypatch.setenv("TELLAPART_JOURNAL", str(tmp_path / "journals"))
    desk, notes = open_desk(folder, Choices("ada"))
    assert desk.journal.path.parent == tmp_path / "journals"
    assert (desk.read_only, notes) == (False, [])


def test_a_journal_that_was_named_must_be_of_use(folder, tmp_path, monkeypatch):
    with pytest.raises(JournalError, match="no journal of labels at"):
        desk_of(folder, journal=tmp_path / "none.sqlite", read_only=True)
    unwritable(monkeypatch, tmp_path)
    with pytest.raises(JournalError, match="cannot be written"):
        desk_of(folder, journal=tmp_path / "none.sqlite")
    (tmp_path / "text.sqlite").write_text("not a journal, but long enough to be taken for one")
    with pytest.raises(JournalError):
        desk_of(folder, journal=tmp_path / "text.sqlite", read_only=True)


def test_a_read_only_studio_reads_the_corrections(folder):
    from tellapart.data.label_events import Change
    from tellapart.data.reader import hash_file

    sample = desk_of(folder).given.samples[0]
    journal = Journal(folder / ".tellapart" / "labels.sqlite")
    journal.write([Change(sample.id, "label", "cat", "dog", "cat", hash_file(sample))], actor="bob")
    desk = desk_of(folder, read_only=True)
    assert (desk.read_only, desk.catalog.label(0)) == (True, "dog")
