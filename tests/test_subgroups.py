"""Figures by subgroup: the right images in each, exact intervals, groups respected, small ones marked."""

import numpy as np
import pytest

from tellapart.evaluation.intervals import clopper_pearson
from tellapart.evaluation.subgroups import banded, subgroups

SEX = [{"sex": "female"}] * 6 + [{"sex": "male"}] * 3 + [{}]
Y_TRUE = np.array([1, 1, 1, 1, 0, 0, 1, 0, 0, 0])
Y_PRED = np.array([1, 1, 1, 0, 0, 1, 0, 0, 0, 0])


def found(**options):
    return {(one.column, one.value): one for one in subgroups(SEX, Y_TRUE, Y_PRED, positive=1, **options)}


def test_each_value_of_a_column_has_its_figures():
    women, men, unknown = found().values()
    assert [one.value for one in (women, men, unknown)] == ["female", "male", "not given"]
    assert (women.n_samples, women.n_units, women.is_small) == (6, 6, True)
    assert dict(women.figures) == pytest.approx(
        {"accuracy": 4 / 6, "sensitivity": 3 / 4, "specificity": 1 / 2}
    )
    assert women.counts == {"accuracy": 6, "sensitivity": 4, "specificity": 2}
    assert women.figures["sensitivity"].ci95 == clopper_pearson(3, 4)
    assert dict(men.figures) == pytest.approx({"accuracy": 2 / 3, "sensitivity": 0, "specificity": 1})
    assert np.isnan(unknown.figures["sensitivity"])


def test_more_than_two_classes_have_accuracy_only():
    (one, *_) = subgroups(SEX, Y_TRUE, Y_PRED)
    assert list(one.figures) == ["accuracy"]


def test_images_of_one_patient_are_drawn_together():
    grouped = found(groups=["a", "a", "a", "b", "b", "b", "c", "c", "d", "d"])
    women = grouped["sex", "female"]
    assert (women.n_samples, women.n_units) == (6, 2)
    assert float(women.figures["accuracy"]) == pytest.approx(4 / 6)
    assert "4 groups" in women.figures["accuracy"].method


def test_forty_images_are_enough():
    metadata = [{"site": "back"}] * 40 + [{"site": "face"}] * 5
    back, face = subgroups(metadata, np.zeros(45, int), np.zeros(45, int))
    assert (back.is_small, face.is_small) == (False, True)


def test_columns_of_one_or_of_many_values_are_left_out():
    metadata = [{"camera": "one", "id": str(i), "age": str(20 + i)} for i in range(40)]
    assert {one.value for one in subgroups(metadata, np.zeros(40, int), np.zeros(40, int))} == {
        "20–39",
        "40–59",
    }
    assert subgroups([{}] * 3, np.zeros(3, int), np.zeros(3, int)) == []


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("age", "45", "40–59"),
        ("Age (years)", "7.5", "00–19"),
        ("patient_age", "", "not given"),
        ("age", "nan", "not given"),
        ("age", "adult", "adult"),
        ("stage", "45", "45"),
    ],
)
def test_ages_are_banded(column, value, shown):
    assert banded(column, value) == shown
