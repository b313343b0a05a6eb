"""What is said beside the figures of a run."""

import numpy as np

from tellapart.evaluation.paired import Paired
from tellapart.studio import remarks


def paired(first, second, groups=None):
    return Paired(np.array(first, dtype=bool), np.array(second, dtype=bool), groups)


def test_what_was_corrected_since():
    assert remarks.since(0, 0) == ""
    assert remarks.since(1, 0) == "1 of these labels was corrected"
    assert remarks.since(2, 1) == "2 of these labels were corrected and 1 image was left out"


def test_images_that_are_not_here():
    assert remarks.gone(0, 40) == ""
    assert (
        remarks.gone(1, 40) == "1 image of 40 that this run tested is not in this folder and cannot be shown."
    )
    assert remarks.gone(3, 1200).startswith("3 images of 1,200 that this run tested are not")


def test_subgroups_come_with_a_caution():
    assert remarks.caution([]) == remarks.NO_COLUMN
    assert remarks.caution([{"small": False}] * 2).startswith("Of 2 subgroups some differ by chance alone")
    told = remarks.caution([{"small": True}, {"small": False}])
    assert told.endswith("1 of them: fewer than 30 independent images, which say little.")


def test_two_runs_compared():
    before, difference, after = remarks.compared("old", "new", paired([1, 1, 0, 0], [1, 0, 1, 1]))
    assert before == (
        "On 4 images that both tested, new is right on 75.0 % and old on 50.0 %: a difference of "
    )
    assert difference == "+25.0 points"
    assert after.startswith(" (95 % interval ")
    assert after.endswith("McNemar’s exact test: p = 1.000. Chance alone could explain it.")


def test_a_clear_difference_is_hardly_chance():
    _, difference, after = remarks.compared("old", "new", paired([0] * 40, [1] * 40))
    assert difference == "+100.0 points"
    assert after.endswith("p < 0.001. Chance alone hardly explains it.")


def test_notes_on_a_comparison():
    assert remarks.notes(0, paired([0, 1], [1, 1])) == []
    both = remarks.notes(1, paired([0, 1, 1], [1, 1, 1], ["a", "a", "b"]))
    assert both[0].startswith("Several images come from one group")
    assert both[1] == (
        "Both are judged by the labels in force; 1 image has another one than when a run was made."
    )
