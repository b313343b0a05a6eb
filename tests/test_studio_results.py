"""Results: figures as stored, the images behind them, corrected labels, subgroups, two runs, saliency."""

import base64
import csv
import io
import time

import numpy as np
import pytest
from PIL import Image

from pictures import write_class_folders
from stored_runs import predictions_of, write_run
from tellapart.data.corrections import as_given
from tellapart.data.journal import Journal
from tellapart.data.label_events import Change
from tellapart.errors import ConfigError
from tellapart.evaluation.evaluation import Evaluation
from tellapart.evaluation.intervals import clopper_pearson
from tellapart.evaluation.paired import OUTCOMES
from tellapart.records import Threshold
from tellapart.studio.desk import Desk
from tellapart.studio.operations import perform

FIRST = [
    ("benign/000.png", "benign", 0.10),
    ("benign/001.png", "benign", 0.95),
    ("benign/002.png", "benign", 0.70),
    ("malignant/000.png", "malignant", 0.90),
    ("malignant/001.png", "malignant", 0.45),
    ("malignant/002.png", "malignant", 0.02),
]
SECOND = [
    ("benign/000.png", "benign", 0.20),
    ("benign/001.png", "benign", 0.30),  # fixed
    ("benign/002.png", "benign", 0.60),
    ("malignant/000.png", "malignant", 0.40),  # broken
    ("malignant/001.png", "malignant", 0.80),  # fixed
    ("malignant/003.png", "malignant", 0.90),  # tested by the second only
]


@pytest.fixture
def data(tmp_path):
    return write_class_folders(tmp_path / "photos", {"benign": 4, "malignant": 4})


@pytest.fixture
def desk(data, tmp_path):
    for name, answers in (("first", FIRST), ("second", SECOND)):
        write_run(tmp_path / "runs" / name, predictions_of(answers), root=data)
    runs = tmp_path / "runs"
    return Desk(data, as_given(data), Journal(tmp_path / "labels.sqlite"), "ada", runs, runs / "first")


def ask(desk, operation, **values):
    return perform(desk, operation, values)


def correct(desk, sample_id, field, new):
    i = desk.catalog.index(sample_id)
    given = desk.given.samples[i].label if field == "label" else ""
    change = Change(sample_id, field, given, new, given, desk.catalog.sha256(i))
    desk.journal.write([change], actor="ada")


def ids(answer):
    return [item["id"] for item in answer["items"]]


def at(value):
    """A threshold of malignant."""
    return Threshold(value, "malignant", "validation", "set by hand")


def test_figures_are_those_that_the_run_stored(desk):
    told = ask(desk, "results")
    assert (told["run"], told["runs"]) == ("first", ["first", "second"])
    assert told["metrics"] == desk.shelf.run("first").metrics
    assert told["metrics"]["confusion_matrix"] == [[1, 2], [2, 1]]
    assert told["kinds"] == {"wrong": 4, "confident": 4, "uncertain": 6, "right": 2}
    assert (told["relabelled"], told["excluded"], told["not_here"]) == (0, 0, 0)
    assert told["labels"] == {"benign": ["benign"], "malignant": ["malignant"]}


def test_what_the_figures_stand_on_is_told_in_words(desk, data, tmp_path):
    told = ask(desk, "results")
    n = told["metrics"]["n_samples"]
    assert told["basis"].startswith(
        f"{n} images, held out at random before training (20% of the data); kept apart from the training "
        "images by file content. Intervals are at 95 %."
    )
    write_run(tmp_path / "runs" / "folded", predictions_of(FIRST), folds=5)
    assert "images, each tested by the one of 5 models" in ask(desk, "results", run="folded")["basis"]


def test_a_studio_without_results_says_what_there_is(data, tmp_path):
    (tmp_path / "runs" / "going-on").mkdir(parents=True)
    (tmp_path / "runs" / "going-on" / "split.csv").write_text("path\n")
    desk = Desk(data, as_given(data), Journal(tmp_path / "labels.sqlite"), "ada", tmp_path / "runs")
    assert ask(desk, "results") == {"run": None, "runs": [], "unfinished": ["going-on"]}
    with pytest.raises(ConfigError, match="going-on has no predictions of a test set"):
        ask(desk, "results", run="going-on")
    with pytest.raises(ConfigError, match="no run is called 'x'"):
        ask(desk, "results", run="x")


def test_images_of_each_kind_come_in_their_order(desk):
    wrong = ask(desk, "ranked", run="first", kind="wrong")
    assert ids(wrong) == ["benign/001.png", "benign/002.png", "malignant/001.png", "malignant/002.png"]
    confident = ask(desk, "ranked", run="first", kind="confident")
    assert ids(confident) == ["malignant/002.png", "benign/001.png", "benign/002.png", "malignant/001.png"]
    uncertain = ask(desk, "ranked", run="first", kind="uncertain", count=2)
    assert (uncertain["total"], ids(uncertain)) == (6, ["malignant/001.png", "benign/002.png"])
    right = ask(desk, "ranked", run="first", kind="right")
    assert ids(right) == ["benign/000.png", "malignant/000.png"]
    rest = ask(desk, "ranked", run="first", kind="confident", start=3)
    assert (rest["total"], ids(rest)) == (4, ["malignant/001.png"])


def test_the_hardest_to_decide_are_those_at_the_threshold(desk, tmp_path):
    low = Threshold(0.15, "malignant", "validation", "sensitivity of 95 %")
    write_run(tmp_path / "runs" / "low", predictions_of(FIRST), threshold=low)
    assert ids(ask(desk, "ranked", run="low", kind="uncertain", count=1)) == ["benign/000.png"]


def test_an_image_carries_its_scores_the_most_probable_class_first(desk):
    (item, *_) = ask(desk, "ranked", run="first", kind="confident")["items"]
    assert item["i"] == desk.catalog.index("malignant/002.png")
    assert (item["label"], item["predicted"], item["then"], item["right"]) == (
        "malignant",
        "benign",
        "malignant",
        False,
    )
    assert item["p"] == pytest.approx(0.98)
    assert [name for name, _ in item["scores"]] == ["benign", "malignant"]
    assert item["more"] == 0


def test_images_that_are_not_here_are_counted_and_keep_their_place(desk, tmp_path):
    answers = [("gone/000.png", "benign", 0.97), *FIRST]
    write_run(tmp_path / "runs" / "older", predictions_of(answers))
    assert ask(desk, "results", run="older")["not_here"] == 1
    (item, *_) = ask(desk, "ranked", run="older", kind="confident", start=1)["items"]
    assert (item["i"], item["id"], item["label"]) == (None, "gone/000.png", "benign")


def test_corrected_labels_are_told_and_figures_follow_on_request(desk):
    correct(desk, "malignant/002.png", "label", "benign")
    correct(desk, "benign/002.png", "excluded", "yes")
    stored = ask(desk, "results", run="first")
    assert (stored["relabelled"], stored["excluded"]) == (1, 1)
    assert stored["metrics"]["confusion_matrix"] == [[1, 2], [2, 1]]
    told = ask(desk, "results", run="first", corrected=True)
    assert told["metrics"]["confusion_matrix"] == [[2, 1], [1, 1]]
    assert told["metrics"]["accuracy"]["value"] == pytest.approx(3 / 5)
    assert told["metrics"]["n_bootstrap"] == 50
    assert told["kinds"]["wrong"] == 2
    wrong = ask(desk, "ranked", run="first", kind="wrong", corrected=True)
    assert ids(wrong) == ["benign/001.png", "malignant/001.png"]
    (item, *_) = ask(desk, "ranked", run="first", kind="confident")["items"]
    assert (item["then"], item["label"], item["right"]) == ("malignant", "benign", True)


def test_a_label_that_the_run_does_not_know_counts_nowhere(desk):
    correct(desk, "malignant/002.png", "label", "naevus")
    told = ask(desk, "results", run="first", corrected=True)
    assert told["relabelled"] == 1
    assert told["metrics"]["n_samples"] == 5


def test_a_run_that_joined_classes_is_compared_by_what_they_became(tmp_path):
    data = write_class_folders(tmp_path / "photos", {"melanoma": 2, "naevus": 2, "wart": 2})
    answers = [
        ("melanoma/000.png", "malignant", 0.9),
        ("naevus/000.png", "benign", 0.2),
        ("wart/000.png", "benign", 0.7),
    ]
    write_run(tmp_path / "runs" / "joined", predictions_of(answers))
    desk = Desk(data, as_given(data), Journal(tmp_path / "labels.sqlite"), "ada", tmp_path / "runs")
    told = ask(desk, "results", run="joined")
    assert told["relabelled"] == 0
    assert told["labels"] == {"benign": ["benign", "naevus", "wart"], "malignant": ["malignant", "melanoma"]}
    correct(desk, "wart/000.png", "label", "naevus")  # benign still
    assert ask(desk, "results", run="joined")["relabelled"] == 0


def test_a_joined_class_is_what_most_of_its_images_were_to_the_run(tmp_path):
    data = write_class_folders(tmp_path / "photos", {"melanoma": 2, "naevus": 3})
    answers = [
        ("melanoma/000.png", "malignant", 0.9),
        ("naevus/000.png", "malignant", 0.8),  # this one had been corrected
        ("naevus/001.png", "benign", 0.2),
        ("naevus/002.png", "benign", 0.7),
    ]
    write_run(tmp_path / "runs" / "joined", predictions_of(answers))
    desk = Desk(data, as_given(data), Journal(tmp_path / "labels.sqlite"), "ada", tmp_path / "runs")
    told = ask(desk, "results", run="joined")
    assert told["labels"]["benign"] == ["benign", "naevus"]
    desk.arrivals.first_run()
    wrong = ask(desk, "items", correct="wrong")
    assert ids(wrong) == ["naevus/000.png", "naevus/002.png"]


def test_subgroups_come_from_the_manifest(tmp_path, data):
    rows = [["path", "label", "sex", "patient"]]
    rows += [
        [sample_id, label, "female" if k % 2 else "male", k] for k, (sample_id, label, _) in enumerate(FIRST)
    ]
    manifest = data / "manifest.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    write_run(tmp_path / "runs" / "first", predictions_of(FIRST))
    desk = Desk(manifest, as_given(manifest), Journal(tmp_path / "labels.sqlite"), "ada", tmp_path / "runs")
    subgroups = ask(desk, "results")["subgroups"]
    (women,) = (one for one in subgroups if (one["column"], one["value"]) == ("sex", "female"))
    assert (women["n"], women["n_units"], women["small"]) == (3, 3, True)
    sensitivity = women["figures"]["sensitivity"]
    assert (sensitivity["value"], sensitivity["n"], sensitivity["method"]) == (0.5, 2, "Clopper-Pearson")
    assert sensitivity["ci95"] == list(clopper_pearson(1, 2))
    assert women["figures"]["accuracy"]["value"] == pytest.approx(1 / 3)


def test_with_another_threshold_all_figures_are_those_at_it(tmp_path, data):
    rows = [["path", "label", "sex"]]
    rows += [[name, label, "female" if k % 2 else "male"] for k, (name, label, _) in enumerate(FIRST)]
    manifest = data / "manifest.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    folder = write_run(tmp_path / "runs" / "first", predictions_of(FIRST), threshold=at(0.5))
    desk = Desk(manifest, as_given(manifest), Journal(tmp_path / "labels.sqlite"), "ada", tmp_path / "runs")

    def sensitivities():
        told = ask(desk, "results", corrected=True)
        (men,) = (one for one in told["subgroups"] if one["value"] == "male")
        return men["figures"]["sensitivity"]["value"], told["metrics"]["sensitivity"]["value"]

    assert sensitivities() == pytest.approx((0, 1 / 3))
    Evaluation(predictions_of(FIRST), at(0.4), n_bootstrap=50).save(folder / "evaluation")
    assert sensitivities() == pytest.approx((1, 2 / 3))


def test_two_runs_are_compared_on_what_both_tested(desk):
    told = ask(desk, "compare", first="first", second="second")
    assert told["n"] == 5
    assert told["counts"] == {"both right": 1, "fixed": 2, "broken": 1, "both wrong": 1}
    assert told["accuracy"] == pytest.approx([2 / 5, 3 / 5])
    assert told["difference"]["value"] == pytest.approx(1 / 5)
    low, high = told["difference"]["ci95"]
    assert low < 0 < high
    assert told["p_value"] == 1.0
    assert told["independent"]


def test_each_count_opens_its_images(desk):
    shown = {
        outcome: ids(ask(desk, "outcomes", first="first", second="second", outcome=outcome))
        for outcome in OUTCOMES
    }
    assert shown == {
        "both right": ["benign/000.png"],
        "fixed": ["benign/001.png", "malignant/001.png"],
        "broken": ["malignant/000.png"],
        "both wrong": ["benign/002.png"],
    }
    page = ask(desk, "outcomes", first="first", second="second", outcome="fixed", start=1, count=1)
    (item,) = page["items"]
    assert (page["total"], item["before"], item["predicted"]) == (2, "benign", "malignant")


def test_both_runs_are_judged_by_the_labels_in_force(desk):
    correct(desk, "malignant/000.png", "label", "benign")
    correct(desk, "benign/002.png", "excluded", "yes")
    told = ask(desk, "compare", first="first", second="second")
    assert told["counts"] == {"both right": 1, "fixed": 3, "broken": 0, "both wrong": 0}
    assert (told["n"], told["relabelled"]) == (4, 1)


def test_runs_that_tested_nothing_in_common_say_so(desk, tmp_path):
    write_run(tmp_path / "runs" / "third", predictions_of([*SECOND[-1:], ("benign/003.png", "benign", 0.1)]))
    told = ask(desk, "compare", first="first", second="third")
    assert (told["n"], told["n_first"], told["n_second"]) == (0, 6, 2)
    assert "difference" not in told


def test_wrong_arguments_are_refused(desk):
    with pytest.raises(ConfigError, match="accepted: one of wrong, confident, uncertain, right"):
        ask(desk, "ranked", run="first", kind="odd")
    with pytest.raises(ConfigError, match="accepted: a whole number from 1 to 200"):
        ask(desk, "ranked", run="first", kind="wrong", count=1000)
    with pytest.raises(ConfigError, match="accepted: one of both right, fixed"):
        ask(desk, "outcomes", first="first", second="second", outcome="odd")
    with pytest.raises(ConfigError, match="first has no model yet"):
        ask(desk, "saliency", run="first", i=0)


def explained(desk, **values):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        told = ask(desk, "saliency", **values)
        if told["state"] == "done":
            return told
        time.sleep(0.05)
    raise AssertionError("no map after a minute")


def pixels_of(address):
    assert address.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_saliency_is_made_in_the_background_and_kept(photos, trained):
    desk = Desk(photos, as_given(photos), Journal(photos / "none.sqlite"), "ada", trained.folder.parent)
    asked = {"i": 5, "run": trained.folder.name}
    assert ask(desk, "saliency", **asked) == {"state": "running"}
    told = explained(desk, **asked)
    assert told["method"] == "grad-cam"
    assert told["class_name"] in told["class_names"] == ["benign", "malignant"]
    assert 0.5 <= told["p"] <= 1
    assert "no proof" in told["caveat"]
    assert pixels_of(told["picture"]).shape == (64, 64, 3)
    assert pixels_of(told["overlay"]).shape == (64, 64, 4)
    assert pixels_of(told["overlay"])[..., 3].max() == 190
    assert ask(desk, "saliency", **asked) == told  # at once
    other = explained(desk, **asked, method="occlusion", **{"class": "benign"})
    assert (other["method"], other["class_name"]) == ("occlusion", "benign")


def test_an_image_that_cannot_be_explained_is_told_and_may_be_asked_again(photos, trained):
    desk = Desk(photos, as_given(photos), Journal(photos / "none.sqlite"), "ada", trained.folder.parent)
    broken = {"i": desk.catalog.index("benign/broken.jpg"), "run": trained.folder.name}
    for _ in range(2):
        with pytest.raises(Exception, match="damaged or truncated"):
            explained(desk, **broken)
    with pytest.raises(ConfigError, match="the model knows no class 'cat'"):
        explained(desk, i=5, run=trained.folder.name, **{"class": "cat"})
    with pytest.raises(ConfigError, match="accepted: a whole number from 0"):
        ask(desk, "saliency", i=10_000, run=trained.folder.name)
