"""An evaluation as a whole: decisions, figures, images, files."""

import json
import subprocess
import sys
import types

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib import pyplot
from sklearn import metrics as sk

from tellapart.errors import ConfigError, DataError
from tellapart.evaluation.evaluation import Evaluation
from tellapart.evaluation.facts import RunFacts
from tellapart.evaluation.folds import summarise_folds
from tellapart.evaluation.tables import read_predictions
from tellapart.evaluation.thresholds import Threshold
from tellapart.records import Predictions

HEADLINE = {
    "accuracy",
    "balanced_accuracy",
    "roc_auc_macro",
    "average_precision_macro",
    "mcc",
    "log_loss",
    "brier",
    "ece",
}
TWO_CLASS = {"sensitivity", "specificity", "ppv", "npv", "lr_positive", "lr_negative"}


def predictions(y_true, y_prob, class_names=None, groups=None):
    y_prob = np.asarray(y_prob, dtype=np.float64)
    class_names = class_names or tuple("abcdefg"[: y_prob.shape[1]])
    ids = tuple(f"{i}.jpg" for i in range(len(y_prob)))
    return Predictions(ids, np.asarray(y_true, dtype=np.int64), y_prob, class_names, groups)


def random_predictions(n, n_classes, seed=0, groups=None):
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, n_classes))
    y_true = (logits + 1.3 * rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    y_prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return predictions(y_true, y_prob, groups=groups)


def lesions(threshold=None, **options):
    """Six images, three of them malignant, with probabilities of malignancy 0.1, 0.3, 0.6, 0.2, 0.7, 0.9."""
    malignant = np.array([0.1, 0.3, 0.6, 0.2, 0.7, 0.9])
    found = predictions(
        [0, 0, 0, 1, 1, 1], np.column_stack([1 - malignant, malignant]), ("benign", "malignant")
    )
    return Evaluation(found, threshold, n_bootstrap=50, **options)


def at(value, positive="malignant"):
    return Threshold(value, positive, "validation", "Youden's index")


# ---- decisions -----------------------------------------------------------------------------------------


def test_two_classes_are_decided_at_the_threshold_everywhere():
    evaluation = lesions(at(0.25))
    assert evaluation.y_pred.tolist() == [0, 1, 1, 0, 1, 1]
    assert evaluation.confusion_matrix.tolist() == [[1, 2], [1, 2]]
    assert evaluation.accuracy == pytest.approx(3 / 6)
    assert evaluation.headline["sensitivity"] == pytest.approx(2 / 3)
    assert evaluation.headline["specificity"] == pytest.approx(1 / 3)
    assert evaluation.headline["ppv"] == pytest.approx(2 / 4)
    assert evaluation.headline["npv"] == pytest.approx(1 / 2)
    assert evaluation.per_class["malignant"]["recall"] == pytest.approx(2 / 3)


def test_the_first_class_may_be_the_positive_one():
    evaluation = lesions(at(0.35, positive="benign"))
    assert evaluation.y_pred.tolist() == [0, 0, 0, 0, 1, 1]
    assert evaluation.headline["sensitivity"] == 1
    assert evaluation.headline["specificity"] == pytest.approx(2 / 3)


def test_a_score_at_the_threshold_is_positive():
    assert lesions(at(0.3)).y_pred.tolist() == [0, 1, 1, 0, 1, 1]


def test_ranking_and_calibration_do_not_depend_on_the_threshold():
    one, other = lesions(at(0.25)), lesions(at(0.8))
    for name in ("roc_auc_macro", "average_precision_macro", "log_loss", "brier", "ece"):
        assert one.headline[name] == other.headline[name]


def test_without_a_threshold_the_last_class_is_positive_from_a_half():
    evaluation = lesions()
    assert evaluation.threshold == Threshold(0.5, "malignant", "default", "0.5 (not chosen)")
    assert evaluation.y_pred.tolist() == evaluation.predictions.y_pred.tolist()


def test_more_classes_take_the_most_probable():
    found = random_predictions(60, 4)
    evaluation = Evaluation(found, n_bootstrap=20)
    assert evaluation.threshold is None
    assert (evaluation.y_pred == found.y_prob.argmax(axis=1)).all()
    assert (evaluation.confusion_matrix == sk.confusion_matrix(found.y_true, evaluation.y_pred)).all()


# ---- figures -------------------------------------------------------------------------------------------


def test_figures_of_two_and_of_more_classes():
    assert set(lesions().headline) == HEADLINE | TWO_CLASS
    evaluation = Evaluation(random_predictions(60, 3), n_bootstrap=20)
    assert set(evaluation.headline) == HEADLINE
    assert set(evaluation.per_class) == {"a", "b", "c"}
    assert set(evaluation.per_class["a"]) == {
        "precision",
        "recall",
        "specificity",
        "f1",
        "support",
        "roc_auc",
        "average_precision",
    }
    assert set(evaluation.calibration) == {"slope", "intercept", "classwise_ece"}


def test_properties_are_the_headline():
    evaluation = Evaluation(random_predictions(80, 3), n_bootstrap=20)
    found = evaluation.predictions
    assert evaluation.roc_auc == pytest.approx(
        sk.roc_auc_score(found.y_true, found.y_prob, multi_class="ovr")
    )
    assert evaluation.balanced_accuracy == pytest.approx(
        sk.balanced_accuracy_score(found.y_true, found.y_pred)
    )
    assert evaluation.log_loss == pytest.approx(sk.log_loss(found.y_true, found.y_prob))
    assert evaluation.brier == pytest.approx(
        ((found.y_prob - np.eye(3)[found.y_true]) ** 2).sum(axis=1).mean()
    )
    for name in ("accuracy", "mcc", "ece"):
        assert getattr(evaluation, name) is evaluation.headline[name]
    assert evaluation.average_precision is evaluation.headline["average_precision_macro"]


def test_intervals_hold_the_figure():
    evaluation = Evaluation(random_predictions(150, 3), n_bootstrap=200)
    for name, estimate in evaluation.headline.items():
        low, high = estimate.ci95
        assert low <= estimate <= high, name


def test_groups_are_resampled():
    groups = tuple(f"lesion {i // 2}" for i in range(60))
    evaluation = Evaluation(random_predictions(60, 3, groups=groups), n_bootstrap=20)
    assert evaluation.accuracy.method == "bootstrap over 30 groups (20 draws)"
    assert evaluation.to_dict()["resampled"] == {"unit": "groups", "n_units": 30}


def test_point_values_are_the_headline_without_intervals():
    evaluation = Evaluation(random_predictions(50, 3), n_bootstrap=20)
    assert evaluation.point_values() == pytest.approx({k: float(v) for k, v in evaluation.headline.items()})


# ---- curves and images ---------------------------------------------------------------------------------


def test_the_curve_holds_the_operating_point():
    found = random_predictions(3000, 2)
    for positive in ("a", "b"):
        evaluation = Evaluation(found, Threshold(0.37, positive, "validation", ""), n_bootstrap=10)
        table = evaluation.confusion_matrix
        for index, name in enumerate(("a", "b")):
            curve = evaluation.roc_curve(name)
            points = list(zip(curve.tp.tolist(), curve.fp.tolist(), strict=True))
            assert (table[index, index], table[1 - index, index]) in points
            assert len(curve.x) <= 402


def test_curves_of_each_class():
    found = random_predictions(90, 3)
    evaluation = Evaluation(found, n_bootstrap=10)
    for index, name in enumerate("abc"):
        truth, score = found.y_true == index, found.y_prob[:, index]
        assert evaluation.roc_curve(name).area == pytest.approx(sk.roc_auc_score(truth, score))
        average = sk.average_precision_score(truth, score)
        assert evaluation.precision_recall_curve(name).area == pytest.approx(average)
    assert evaluation.macro_roc_curve().area == pytest.approx(evaluation.roc_auc)


def test_histogram_counts_by_true_class():
    assert {name: row.tolist() for name, row in lesions().histogram("malignant", n_bins=4).items()} == {
        "benign": [1, 1, 1, 0],
        "malignant": [1, 0, 1, 1],
    }


def test_reliability_of_the_top_class_or_of_one():
    evaluation = lesions()
    assert evaluation.reliability(n_bins=2).count.tolist() == [0, 6]
    assert evaluation.reliability(n_bins=2, class_name="malignant").count.tolist() == [3, 3]


def test_errors_by_confidence_and_images_by_doubt():
    evaluation = lesions(at(0.55))
    assert evaluation.most_confident_errors(5).tolist() == [3, 2]
    assert evaluation.most_confident_errors(1).tolist() == [3]
    assert evaluation.least_certain(2).tolist() == [2, 4]
    y_prob = [[0.5, 0.4, 0.1], [0.36, 0.34, 0.3], [0.8, 0.1, 0.1]]
    assert Evaluation(predictions([0, 1, 2], y_prob)).least_certain(2).tolist() == [1, 0]


def test_an_unknown_class_is_named():
    with pytest.raises(DataError, match="no class is called 'nevus'"):
        lesions().roc_curve("nevus")


def test_drawings():
    for evaluation in (lesions(), Evaluation(random_predictions(40, 3), n_bootstrap=10)):
        for name in ("roc", "precision_recall", "confusion_matrix", "reliability", "probabilities"):
            _, ax = pyplot.subplots()
            assert getattr(evaluation, f"plot_{name}")(ax=ax) is ax
            assert ax.get_xlabel()
            pyplot.close("all")


# ---- edges ---------------------------------------------------------------------------------------------


def test_a_class_without_images_is_null_in_json():
    found = predictions([0, 1, 0, 1], [[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.4, 0.5, 0.1], [0.2, 0.7, 0.1]])
    described = Evaluation(found, n_bootstrap=50).to_dict()
    row = described["per_class"]["c"]
    assert row["support"] == 0
    assert row["recall"]["value"] is None
    assert row["roc_auc"]["ci95"] is None
    json.dumps(described, allow_nan=False)


@pytest.mark.parametrize("y_true", [[0], [1], [0, 0, 0]])
def test_few_images_of_one_class(y_true):
    found = predictions(y_true, [[0.7, 0.3]] * len(y_true))
    described = Evaluation(found, n_bootstrap=20).to_dict()
    assert described["roc_auc_macro"]["value"] is None
    json.dumps(described, allow_nan=False)


def test_perfect_predictions_are_not_certain():
    y_true = np.arange(40) % 2
    described = Evaluation(predictions(y_true, np.eye(2)[y_true]), n_bootstrap=50).to_dict()
    for name in ("accuracy", "balanced_accuracy", "roc_auc_macro", "mcc", "sensitivity", "npv"):
        low, high = described[name]["ci95"]
        assert high == 1
        assert low < 0.95, name
    low, high = described["brier"]["ci95"]
    assert low == 0 < high


@pytest.mark.parametrize(
    ("y_true", "y_prob", "message"),
    [
        ([0, -1, -1], [[0.6, 0.4]] * 3, "2 of 3 images"),
        ([0, 5], [[0.6, 0.4]] * 2, "from 0 to 1"),
        ([0], [[1.0]], "two classes"),
        ([], np.empty((0, 2)), "no image"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(y_true, y_prob, message):
    with pytest.raises(DataError, match=message):
        Evaluation(predictions(y_true, y_prob))


def test_thresholds_need_two_classes_and_one_of_them():
    with pytest.raises(ConfigError, match="two classes"):
        Evaluation(random_predictions(9, 3), at(0.5, positive="a"))
    with pytest.raises(ConfigError, match="nevus"):
        lesions(at(0.5, positive="nevus"))
    with pytest.raises(ConfigError, match="n_bootstrap"):
        Evaluation(random_predictions(9, 3), n_bootstrap=-1)


# ---- files ---------------------------------------------------------------------------------------------


def test_metrics_json_has_the_promised_keys():
    described = lesions(at(0.25)).to_dict()
    assert described["n_samples"] == 6
    assert described["class_names"] == ["benign", "malignant"]
    assert described["confusion_matrix"] == [[1, 2], [1, 2]]
    assert described["threshold"] == 0.25
    assert described["threshold_chosen_on"] == "validation"
    for name in HEADLINE | TWO_CLASS:
        assert {"value", "ci95"} <= set(described[name])
    assert described["per_class"]["malignant"]["support"] == 3
    assert "threshold" not in Evaluation(random_predictions(20, 3), n_bootstrap=10).to_dict()


def test_saves_three_files(tmp_path, monkeypatch):
    asked = {}

    def render(evaluation, facts, thumbnails):
        asked.update(evaluation=evaluation, facts=facts, thumbnails=thumbnails)
        return "<!doctype html>é"

    stand_in = types.ModuleType("tellapart.evaluation.report")
    stand_in.render = render
    monkeypatch.setitem(sys.modules, "tellapart.evaluation.report", stand_in)
    evaluation = lesions(at(0.25))
    facts = RunFacts(folds={"accuracy": {"mean": 0.5, "std": 0.1, "values": [0.4, 0.6]}})
    folder = evaluation.save(tmp_path / "run" / "evaluation", facts=facts, images="images")
    assert sorted(file.name for file in folder.iterdir()) == [
        "metrics.json",
        "predictions.csv",
        "report.html",
    ]
    assert asked == {"evaluation": evaluation, "facts": facts, "thumbnails": "images"}
    assert (folder / "report.html").read_text(encoding="utf-8") == "<!doctype html>é"
    written = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert written == {**evaluation.to_dict(), "folds": facts.folds}
    again = Evaluation(read_predictions(folder / "predictions.csv"), at(0.25), n_bootstrap=50)
    assert again.to_dict() == evaluation.to_dict()
    lines = (folder / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert lines[2] == "1.jpg,benign,malignant,0.7,0.3"


def test_folds_are_summarised_with_their_spread():
    folds = [Evaluation(random_predictions(50, 2, seed), n_bootstrap=0) for seed in range(3)]
    summary = summarise_folds(folds)
    values = [float(fold.log_loss) for fold in folds]
    assert summary["log_loss"]["values"] == pytest.approx(values)
    assert summary["log_loss"]["mean"] == pytest.approx(np.mean(values))
    assert summary["log_loss"]["std"] == pytest.approx(np.std(values, ddof=1))
    assert set(summary) == HEADLINE | TWO_CLASS
    assert summarise_folds([]) == {}


def test_folds_that_do_not_define_a_figure_are_left_out_of_its_mean():
    whole = Evaluation(random_predictions(50, 2), n_bootstrap=0)
    one_class = Evaluation(predictions([0, 0], [[0.8, 0.2]] * 2), n_bootstrap=0)
    summary = summarise_folds([whole, one_class])
    assert summary["roc_auc_macro"]["values"] == [pytest.approx(float(whole.roc_auc)), None]
    assert summary["roc_auc_macro"]["mean"] == pytest.approx(float(whole.roc_auc))
    assert summary["roc_auc_macro"]["std"] is None
    json.dumps(summary, allow_nan=False)


def test_importing_is_light():
    code = "import sys, tellapart.evaluation.evaluation; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"sklearn", "scipy", "matplotlib", "torch", "jinja2"} & set(loaded.split())
