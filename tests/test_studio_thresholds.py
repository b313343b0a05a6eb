"""Choosing a threshold: on validation images, for a reason, into every file."""

import csv
import json
import re

import numpy as np
import pytest

import tellapart as ta
from desks import ask, desk_on
from pictures import write_class_folders
from tellapart.bundle import Bundle
from tellapart.errors import BundleError, ConfigError, DataError, ReadOnly
from tellapart.evaluation.evaluation import Evaluation
from tellapart.evaluation.tables import read_predictions
from tellapart.records import Threshold
from tellapart.training.config import TrainConfig
from thresholds import use


def held(run):
    said = read_predictions(run / "validation.csv")
    return said.y_true == 1, said.y_prob[:, 1]


# ---- what training keeps -------------------------------------------------------------------------------


def test_training_keeps_what_it_chose_the_threshold_on(trained):
    said = read_predictions(trained.folder / "validation.csv")
    rows = list(csv.DictReader((trained.folder / "split.csv").open(newline="")))
    assert set(said.sample_ids) == {row["path"] for row in rows if row["split"] == "train"}
    threshold = trained.model.card.threshold
    assert threshold.chosen_on == "out-of-fold"
    with (trained.folder / "validation.csv").open(newline="") as file:
        predicted = [row["predicted"] == "malignant" for row in csv.DictReader(file)]
    assert predicted == (said.y_prob[:, 1] >= threshold.value).tolist()


def test_more_than_two_classes_keep_them_too(tmp_path):
    data = write_class_folders(tmp_path / "photos", {"a": 8, "b": 8, "c": 8})
    config = TrainConfig(mode="features", image_size=64)
    ta.train(ta.Dataset.from_folder(data), config, tmp_path / "runs" / "run")
    desk = desk_on(data, runs=tmp_path / "runs")
    told = ask(desk, "threshold", **{"class": "b"})
    assert (told["positive"], told["storable"], told["others"]) == ("b", False, "the rest")
    assert told["points"]["positives"] + told["points"]["negatives"] == told["n"]
    with pytest.raises(ConfigError, match="stored for two classes, and this model has 3"):
        ask(desk, "use_threshold", run="run", method="youden", why="because", seen=0.5)
    with pytest.raises(ConfigError, match="no class is called 'd'"):
        ask(desk, "threshold", **{"class": "d"})


# ---- what the page gets ----------------------------------------------------------------------------------


def test_counts_are_exact_at_every_threshold(doubtful_desk, doubtful_lesions):
    told = ask(doubtful_desk, "threshold", at=0.4321)
    positive, score = held(doubtful_lesions)
    points = told["points"]
    assert (points["positives"], points["negatives"]) == (positive.sum(), (~positive).sum())
    assert points["thresholds"][-1] is None
    assert 0.4321 in points["thresholds"]
    for value, tp, fp in zip(points["thresholds"][:-1], points["tp"], points["fp"], strict=False):
        assert (tp, fp) == ((score[positive] >= value).sum(), (score[~positive] >= value).sum())
    assert points["thresholds"][points["in_use"]] == told["in_use"]["value"]
    assert (told["data"], told["n"], told["overlap"], told["storable"]) == ("out-of-fold", 56, 0, True)
    for value, tp in zip(told["utility"]["thresholds"], told["utility"]["tp"], strict=True):
        assert tp == (score[positive] >= value).sum()
    json.dumps(told, allow_nan=False)


def test_intervals_are_those_of_an_evaluation_of_the_same_images(doubtful_desk, doubtful_lesions):
    points = ask(doubtful_desk, "threshold", at=0.5)["points"]
    index = points["thresholds"].index(0.5)
    evaluation = Evaluation(
        read_predictions(doubtful_lesions / "validation.csv"),
        Threshold(0.5, "malignant", "validation", "a test"),
    )
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        assert tuple(points["intervals"][name][index]) == evaluation.headline[name].ci95


def test_images_near_a_threshold_and_those_that_change_sides(doubtful_desk, doubtful_lesions):
    positive, score = held(doubtful_lesions)
    told = ask(doubtful_desk, "near", run="lesions", at=0.3, **{"from": 0.5}, count=5)
    distances = [abs(item["p"] - 0.3) for item in told["nearest"]]
    assert distances == sorted(distances)
    assert distances[-1] == pytest.approx(np.sort(np.abs(score - 0.3))[4])
    moved = (score >= 0.3) & (score < 0.5)
    assert told["flips"]["gained"] == moved.sum()
    assert told["flips"]["lost"] == 0
    assert told["flips"]["right"] == (moved & positive).sum()
    first = told["flips"]["items"][0]
    assert doubtful_desk.given.samples[first["i"]].id == first["id"]
    back = ask(doubtful_desk, "near", run="lesions", at=0.5, **{"from": 0.3})
    assert (back["flips"]["lost"], back["flips"]["right"]) == (moved.sum(), (moved & ~positive).sum())


def test_with_a_band_what_is_referred_is_counted_apart(doubtful_desk, doubtful_lesions):
    positive, score = held(doubtful_lesions)
    band = ask(doubtful_desk, "near", run="lesions", at=0.6, **{"and": 0.4})["band"]
    assert band["referred"] == ((score >= 0.4) & (score < 0.6)).sum()
    assert band["fn"] == (score[positive] < 0.4).sum()
    assert band["tn"] == (score[~positive] < 0.4).sum()
    assert band["figures"]["sensitivity"]["value"] == band["tp"] / (band["tp"] + band["fn"])
    assert band["figures"]["referred"]["value"] == band["referred"] / 56
    flips = ask(doubtful_desk, "near", run="lesions", at=0.6, **{"and": 0.4, "from": 0.5})["flips"]
    assert flips["gained"] == ((score >= 0.4) & (score < 0.5)).sum()  # the label changes at the lower end


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"method": "youden"}, "Youden's index"),
        ({"method": "sensitivity", "sensitivity": 0.9}, "sensitivity of at least 0.9"),
        (
            {"method": "sensitivity", "sensitivity": 0.8, "surely": True},
            "sensitivity of at least 0.8 by the lower end of its 95 % interval",
        ),
        (
            {"method": "cost", "cost": 10, "prevalence": 0.05},
            "least cost, a missed malignant as bad as 10 false alarms, at a prevalence of 0.05",
        ),
        ({"method": "hand", "at": 0.25}, "set by hand"),
    ],
)
def test_ways_to_choose(doubtful_desk, doubtful_lesions, values, rule):
    chosen = ask(doubtful_desk, "choose", run="lesions", **values)
    assert (chosen["rule"], chosen["band"]) == (rule, None)
    positive, score = held(doubtful_lesions)
    if "sensitivity" in values:
        assert (score[positive] >= chosen["value"]).mean() >= values["sensitivity"]
    assert chosen["value"] in ask(doubtful_desk, "threshold", at=chosen["value"])["points"]["thresholds"]


def test_a_band_is_chosen_by_two_targets(doubtful_desk, doubtful_lesions):
    wanted = {"method": "band", "sensitivity": 0.95, "specificity": 0.95}
    chosen = ask(doubtful_desk, "choose", run="lesions", **wanted)
    low, high = chosen["band"]
    positive, score = held(doubtful_lesions)
    assert (score[positive] >= low).mean() >= 0.95
    assert (score[~positive] < high).mean() >= 0.95
    assert chosen["value"] == low < high
    both = ask(doubtful_desk, "choose", run="lesions", method="band", sensitivity=0.1, specificity=0.1)
    assert both["band"] is None
    assert both["rule"].endswith("which one threshold reaches")


@pytest.mark.parametrize(
    "values",
    [{"method": "guess"}, {"method": "sensitivity"}, {"method": "sensitivity", "sensitivity": 95},
     {"method": "cost", "cost": 0}, {"method": "hand", "at": 1.5}, {"method": "hand", "at": "half"}],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_told(doubtful_desk, values):
    with pytest.raises(ConfigError):
        ask(doubtful_desk, "choose", run="lesions", **values)


def test_a_target_that_these_images_cannot_reach_is_told(doubtful_desk):
    with pytest.raises(DataError, match=r"no threshold surely reaches a sensitivity of 0\.99"):
        ask(doubtful_desk, "choose", run="lesions", method="sensitivity", sensitivity=0.99, surely=True)


# ---- what is written -------------------------------------------------------------------------------------


def test_the_choice_is_in_every_file(doubtful_desk, doubtful_lesions):
    told = use(doubtful_desk, "sensitivity", sensitivity=0.95, why="a missed\nmelanoma costs more")
    card = Bundle.load(doubtful_lesions).card
    value = told["in_use"]["value"]
    assert card.threshold == Threshold(
        value,
        "malignant",
        "out-of-fold",
        "sensitivity of at least 0.95",
        None,
        "anna",
        "a missed melanoma costs more",
        told["in_use"]["at"],
    )
    metrics = json.loads((doubtful_lesions / "evaluation" / "metrics.json").read_text())
    assert (metrics["threshold"], metrics["threshold_rule"]) == (value, "sensitivity of at least 0.95")
    assert metrics["n_bootstrap"] == 50
    assert card.figures["sensitivity"] == metrics["sensitivity"] == told["test"]["figures"]["sensitivity"]
    for name in ("validation.csv", "evaluation/predictions.csv"):
        with (doubtful_lesions / name).open(newline="") as file:
            for row in csv.DictReader(file):
                assert (row["predicted"] == "malignant") == (float(row["prob_malignant"]) >= value)
    report = (doubtful_lesions / "evaluation" / "report.html").read_text()
    assert f"{value:.4g}</b>" in report
    assert "Chosen by anna at " in report
    assert 'src="data:image/jpeg;base64,' in report
    readme = (doubtful_lesions / "model" / "README.md").read_text()
    assert f"reaches {value:.3f} (sensitivity of at least 0.95, chosen on out-of-fold data" in readme
    assert "Chosen by anna" in readme
    assert f"| sensitivity | {metrics['sensitivity']['value']:.3f} |" in readme


def test_the_report_keeps_what_it_told_of_the_run(doubtful_desk, doubtful_lesions):
    before = (doubtful_lesions / "evaluation" / "report.html").read_text()
    use(doubtful_desk, at=0.3)
    after = (doubtful_lesions / "evaluation" / "report.html").read_text()

    def sections(text):
        return re.findall(r"<h2[^>]*>(.*?)</h2>", text)

    def gaps(text):
        return set(re.findall(r"Missing: [^.<]+", text))

    assert sections(after) == sections(before)
    assert gaps(after) == gaps(before)
    for fact in ("majority class", "files found", "Splits are disjoint by", "broken.jpg"):
        assert fact in before
        assert fact in after


def test_test_figures_are_those_of_the_test_images(doubtful_desk, doubtful_lesions):
    told = use(doubtful_desk, at=0.42)["test"]
    said = read_predictions(doubtful_lesions / "evaluation" / "predictions.csv")
    called, positive = said.y_prob[:, 1] >= 0.42, said.y_true == 1
    assert told["n"] == len(said)
    assert (told["tp"], told["fp"]) == ((called & positive).sum(), (called & ~positive).sum())
    assert (told["fn"], told["tn"]) == ((~called & positive).sum(), (~called & ~positive).sum())
    assert told["figures"]["sensitivity"]["value"] == told["tp"] / (told["tp"] + told["fn"])


def test_every_look_at_the_test_set_is_on_record(doubtful_desk, doubtful_lesions):
    assert ask(doubtful_desk, "threshold")["choices"] == []
    use(doubtful_desk, at=0.3, why="first")
    first = (doubtful_lesions / "threshold.jsonl").read_text()
    use(doubtful_desk, at=0.4, why="again")
    assert (doubtful_lesions / "threshold.jsonl").read_text().startswith(first)
    noted = ask(doubtful_desk, "threshold")["choices"]
    assert [(one["why"], one["by"], one["value"]) for one in noted] == [
        ("first", "anna", 0.3),
        ("again", "anna", 0.4),
    ]
    assert noted[1]["before"] == 0.3


def test_the_model_itself_is_left_as_it_was(doubtful_desk, doubtful_lesions):
    before = {path.name: path.read_bytes() for path in (doubtful_lesions / "model").iterdir()}
    use(doubtful_desk, at=0.3)
    after = {path.name: path.read_bytes() for path in (doubtful_lesions / "model").iterdir()}
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {"model.json", "README.md"}


def test_a_reason_is_asked_for(doubtful_desk, doubtful_lesions):
    for why in ("", "  \n "):
        with pytest.raises(ConfigError, match="say why"):
            use(doubtful_desk, at=0.3, why=why)
    assert not (doubtful_lesions / "threshold.jsonl").exists()


def test_a_threshold_that_changed_meanwhile_is_not_written_over(doubtful_desk, doubtful_lesions):
    seen = ask(doubtful_desk, "threshold")["in_use"]["value"]
    use(doubtful_desk, at=0.3)
    with pytest.raises(ConfigError, match="changed meanwhile"):
        ask(doubtful_desk, "use_threshold", run="lesions", method="hand", at=0.4, why="late", seen=seen)
    assert Bundle.load(doubtful_lesions).card.threshold.value == 0.3
    assert len(ask(doubtful_desk, "threshold")["choices"]) == 1


def test_a_damaged_bundle_is_not_blessed(doubtful_desk, doubtful_lesions):
    seen = ask(doubtful_desk, "threshold")["in_use"]["value"]
    model = doubtful_lesions / "model" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError, match="damaged"):
        ask(doubtful_desk, "use_threshold", run="lesions", method="hand", at=0.4, why="so", seen=seen)
    assert not (doubtful_lesions / "threshold.jsonl").exists()


def test_a_desk_that_only_reads_writes_nothing(photos, doubtful_lesions):
    desk = desk_on(photos, runs=doubtful_lesions.parent, read_only=True)
    assert ask(desk, "threshold")["storable"] is False
    with pytest.raises(ReadOnly):
        use(desk, at=0.3)


def test_after_a_cross_validation_test_and_validation_are_the_same_images(photos, tmp_path):
    config = TrainConfig(mode="features", image_size=64, folds=4)
    run = ta.train(ta.Dataset.from_folder(photos), config, tmp_path / "runs" / "lesions").folder
    desk = desk_on(photos, runs=run.parent)
    told = ask(desk, "threshold")
    assert told["overlap"] == told["n"] == told["n_test"] == 80
    use(desk, at=0.9)
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text())
    shares = metrics["folds"]["sensitivity"]["values"]
    assert len(shares) == 4
    assert np.mean(shares) == pytest.approx(metrics["sensitivity"]["value"])  # ten malignant in each fold


def test_a_run_without_a_test_set_can_be_chosen_for(tmp_path):
    data = write_class_folders(tmp_path / "photos", {"benign": 12, "malignant": 12})
    dataset = ta.Dataset.from_folder(data)
    train, _ = dataset.split(test_size=0.34, seed=0)
    ta.train(train, TrainConfig(mode="features", image_size=64), tmp_path / "runs" / "lesions")
    desk = desk_on(data, runs=tmp_path / "runs")
    told = use(desk, at=0.3)
    assert told["test"] is None
    assert Bundle.load(tmp_path / "runs" / "lesions").card.threshold.value == 0.3


def test_older_runs_are_told_what_they_lack(doubtful_desk, doubtful_lesions):
    (doubtful_lesions / "validation.csv").unlink()
    told = ask(doubtful_desk, "threshold")
    assert "no validation.csv" in told["missing"]
    assert "train it again" in told["missing"]
    with pytest.raises(ConfigError, match=r"no validation\.csv"):
        ask(doubtful_desk, "choose", run="lesions", method="youden")


def test_a_studio_without_runs_says_so(photos, tmp_path):
    told = ask(desk_on(photos, runs=tmp_path / "none"), "threshold")
    assert told == {"run": None, "runs": [], "missing": "there is no finished run yet; train one first"}


def test_missing_facts_are_told_before_anything_is_written(doubtful_desk, doubtful_lesions):
    (doubtful_lesions / "facts.json").unlink()
    with pytest.raises(DataError, match=r"facts\.json is missing"):
        use(doubtful_desk, at=0.3)
    assert not (doubtful_lesions / "threshold.jsonl").exists()
