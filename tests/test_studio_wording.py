"""Figures and counts in words: as the report has them."""

import pytest

from tellapart.studio import wording


def estimate(value, ci95=None):
    return {"value": value, "ci95": ci95, "method": "Clopper-Pearson"}


def test_a_share_is_written_in_percent_with_its_interval():
    told = wording.figure("sensitivity", estimate(0.9, [0.825, 0.95]))
    assert (told["label"], told["says"], told["range"]) == ("Sensitivity", "90.0 %", "82.5 to 95.0 %")
    assert (told["value"], told["ci95"], told["method"]) == (0.9, [0.825, 0.95], "Clopper-Pearson")


def test_other_figures_have_three_decimals():
    told = wording.figure("mcc", estimate(-0.0214, [-0.2, 0.1]))
    assert (told["says"], told["range"]) == ("−0.021", "−0.200 to 0.100")


def test_what_is_not_defined_is_said_so():
    told = wording.figure("ppv", estimate(None))
    assert (told["says"], told["range"]) == ("not defined", "no interval")


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("accuracy", 0.031, "+3.1 points"),
        ("accuracy", -0.031, "−3.1 points"),
        ("accuracy", 0.0, "±0.0 points"),
        ("log_loss", -0.0214, "−0.021"),
        ("accuracy", None, "not defined"),
    ],
)
def test_a_difference_has_a_sign(name, value, written):
    assert wording.change(name, value) == written


def test_the_ends_of_an_interval_of_differences_need_no_unit():
    assert wording.change("accuracy", 0.1, unit=False) == "+10.0"


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.2, "1 s"), (89.5, "90 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")]
)
def test_a_duration(seconds, written):
    assert wording.duration(seconds) == written


def test_counts():
    assert (wording.count(1, "image"), wording.count(1200, "image")) == ("1 image", "1,200 images")
    assert wording.corrections(relabelled=1, excluded=0) == "1 label change"
    assert (wording.is_or_are(1), wording.was_or_were(0)) == ("is", "were")


@pytest.mark.parametrize(
    ("field", "old", "new", "says"),
    [
        ("label", "cat", "dog", "cat → dog"),
        ("label", "", "dog", "blank → dog"),
        ("excluded", "", "yes", "excluded"),
        ("excluded", "yes", "", "taken in again"),
        ("flagged", "yes", "", "flag taken off"),
        ("review", "", "(excluded)", "answered not to be used"),
        ("review", "cat", "", "answered nothing any more"),
    ],
)
def test_a_change(field, old, new, says):
    assert wording.moved(field, old, new) == says
    assert wording.moved(field, old, new, 1200) == f"1,200 × {says}"
