"""The shelf finds runs, reads what they stored, and notices when they change; it needs no torch."""

import numpy as np
import pytest

from stored_runs import predictions_of, write_run
from tellapart.errors import ConfigError, DataError
from tellapart.evaluation.tables import write_predictions
from tellapart.records import Threshold
from tellapart.studio.shelf import Shelf, read_split

ANSWERS = [
    ("benign/000.png", "benign", 0.1),
    ("benign/001.png", "benign", 0.4),
    ("malignant/000.png", "malignant", 0.9),
]
CAUTIOUS = Threshold(0.3, "malignant", "validation", "sensitivity of 95 %")


def shelf_of(runs, *given):
    return Shelf(runs, given, {"benign/000.png", "benign/001.png", "malignant/000.png"})


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path / "runs" / "second", predictions_of(ANSWERS))
    write_run(tmp_path / "runs" / "first", predictions_of(ANSWERS), threshold=CAUTIOUS)
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "going-on").mkdir()
    (tmp_path / "runs" / "going-on" / "split.csv").write_text("path,label,split\n")
    return tmp_path / "runs"


def test_runs_are_the_folders_that_hold_one_those_the_user_named_first(runs, tmp_path):
    named = write_run(tmp_path / "elsewhere" / "mine", predictions_of(ANSWERS))
    shelf = shelf_of(runs, named, runs / "second", named)
    assert shelf.names() == ["mine", "second", "first", "going-on"]
    assert shelf.tested() == ["mine", "second", "first"]
    assert [shelf.run(name).finished for name in shelf.names()] == [True, True, True, False]


def test_runs_of_the_same_name_are_told_apart_by_the_folder_they_lie_in(runs, tmp_path):
    named = write_run(tmp_path / "elsewhere" / "first", predictions_of(ANSWERS))
    shelf = shelf_of(runs, named)
    assert shelf.names() == ["first", "runs/first", "going-on", "second"]
    assert shelf.run("first").folder == named
    assert shelf.run("runs/first").folder == runs / "first"


def test_runs_of_other_images_are_passed_over_unless_the_user_named_them(runs):
    for name, image in [("second", "bowl/1.jpg"), ("first", "benign/001.png")]:
        (runs / name / "split.csv").write_text(f"path,label,split\nelsewhere.png,a,test\n{image},a,train\n")
    shelf = shelf_of(runs)
    assert shelf.names() == ["first", "going-on"]
    assert shelf.n_passed_over() == 1
    named = shelf_of(runs, runs / "second")
    assert named.names() == ["second", "first", "going-on"]
    assert named.n_passed_over() == 0
    (runs / "second" / "split.csv").write_text("path,label,split\nbenign/000.png,benign,train\n")
    assert shelf.n_passed_over() == 0  # files are looked at anew


def test_a_run_whose_split_is_damaged_is_listed_so_that_somebody_is_told(runs):
    (runs / "first" / "split.csv").write_text("nothing\nof the kind\n")
    assert "first" in shelf_of(runs).names()
    with pytest.raises(DataError, match=r"split\.csv cannot be read as a split"):
        read_split(runs / "first" / "split.csv")


def test_a_split_is_read_by_columns(runs):
    file = runs / "first" / "split.csv"
    assert read_split(file, "label") == {}
    file.write_text("path,label,split\na.png,a,test\nb.png,b,\n")
    assert read_split(file, "split", "fold") == {"a.png": ("test", ""), "b.png": ("", "")}


def test_a_run_gives_back_what_it_stored(runs):
    run = shelf_of(runs).run("first")
    np.testing.assert_array_equal(run.predictions.y_prob, predictions_of(ANSWERS).y_prob)
    assert run.predictions.sample_ids == tuple(sample_id for sample_id, _, _ in ANSWERS)
    # 0.4 is malignant for the cautious threshold, though not the more probable class.
    assert run.y_pred.tolist() == [0, 1, 1]
    assert run.metrics["accuracy"]["value"] == pytest.approx(2 / 3)
    assert run.threshold == CAUTIOUS
    assert run.config["test_size"] == 0.2
    assert run.card is None
    assert run.validation is None


def test_a_run_in_progress_has_nothing_yet(runs):
    run = shelf_of(runs).run("going-on")
    assert (run.record, run.config, run.metrics, run.predictions, run.y_pred, run.card) == (
        {},
        {},
        *[None] * 4,
    )


def test_the_card_and_the_validation_answers_are_read_if_they_are_there(trained):
    run = shelf_of(trained.folder.parent).run(trained.folder.name)
    assert run.card.class_names == ("benign", "malignant")
    assert len(run.predictions) == len(trained.evaluation.predictions)
    np.testing.assert_array_equal(run.y_pred, trained.evaluation.y_pred)


def test_a_run_is_kept_until_one_of_its_files_changes(runs):
    shelf = shelf_of(runs)
    run = shelf.run("first")
    assert shelf.run("first") is run
    write_predictions(runs / "first" / "evaluation" / "predictions.csv", predictions_of(ANSWERS[:2]))
    assert len(shelf.run("first").predictions) == 2
    write_run(runs / "third", predictions_of(ANSWERS))
    assert "third" in shelf.names()


def test_an_unknown_name_is_refused_and_never_a_path(runs):
    with pytest.raises(
        ConfigError, match=r"no run is called '\.\./runs/first'; known here: first, going-on, second"
    ):
        shelf_of(runs).run("../runs/first")
    with pytest.raises(ConfigError, match="known here: none"):
        shelf_of(runs / "nowhere").run("first")


@pytest.mark.parametrize(
    ("file", "content", "attribute"),
    [
        ("run.json", "{", "record"),
        ("evaluation/metrics.json", "[]", "metrics"),
        ("evaluation/predictions.csv", "path,label,predicted,prob_a\nx,a,b,1.0\n", "y_pred"),
        ("evaluation/predictions.csv", "path\n", "predictions"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(runs, file, content, attribute):
    (runs / "first" / file).write_text(content)
    with pytest.raises(DataError, match=file):
        getattr(shelf_of(runs).run("first"), attribute)
