"""What changed from one run to a later one, on the images that both tested."""

import shutil

import numpy as np
import pytest

from pictures import write_class_folders
from tellapart.errors import ConfigError
from tellapart.evaluation.tables import read_predictions, write_predictions
from tellapart.studio.opening import Choices, open_desk
from tellapart.studio.operations import perform


@pytest.fixture
def desk(tmp_path):
    data = write_class_folders(tmp_path / "photos", {"benign": 12, "malignant": 12})
    return open_desk(data, Choices(actor="ada", runs=tmp_path / "runs"))[0]


@pytest.fixture
def shelved(desk, trained):
    """The desk, with a finished run on its shelf."""
    shutil.copytree(trained.folder, desk.runs / "first")
    return desk


def test_the_difference_is_on_common_images_with_the_later_labels(shelved):
    first = shelved.runs / "first" / "evaluation" / "predictions.csv"
    shutil.copytree(shelved.runs / "first", shelved.runs / "second")
    before = read_predictions(first)
    # The later run was tested on all images but the last; one has another label, and another answer.
    later = shelved.runs / "second" / "evaluation" / "predictions.csv"
    after = read_predictions(later)
    after.y_true[0], after.y_prob[0] = 1 - after.y_true[0], after.y_prob[0][::-1]
    write_predictions(later, after)
    text = later.read_text().splitlines(keepends=True)
    later.write_text("".join(text[:-1]))
    told = perform(shelved, "run_difference", {"before": "first", "after": "second"})
    n = len(before) - 1
    assert (told["n"], told["n_before"], told["n_after"], told["relabelled"]) == (n, n + 1, n, 1)
    accuracy = next(row for row in told["figures"] if row["name"] == "accuracy")
    right = before.y_pred[:n] == after.y_true[:n]
    assert accuracy["before"] == pytest.approx(np.mean(right))
    assert accuracy["difference"] == pytest.approx(accuracy["after"] - accuracy["before"])
    assert accuracy["ci95"][0] <= accuracy["difference"] <= accuracy["ci95"][1]
    words = accuracy["words"]
    assert (words["label"], words["note"]) == ("Accuracy", "")
    assert words["before"] == f"{100 * accuracy['before']:.1f} %"
    assert words["difference"].endswith(" points")
    assert next(row for row in told["figures"] if row["name"] == "ece")["words"]["note"] == "less is better"
    assert told["says"] == (
        f"Both on the same {n} test images (of {n + 1} and {n}), with the labels that second was tested "
        "with: 1 of them with another label than when first was tested."
    )


def test_runs_without_a_common_image_cannot_be_compared(shelved):
    shutil.copytree(shelved.runs / "first", shelved.runs / "second")
    path = shelved.runs / "second" / "evaluation" / "predictions.csv"
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *(f"other/{line}" for line in lines)]) + "\n")
    with pytest.raises(ConfigError, match="tested on different images"):
        perform(shelved, "run_difference", {"before": "first", "after": "second"})
