"""What is said of a threshold."""

from tellapart.studio import calls

HALF = {"value": 0.5, "ci95": [0.25, 0.75], "method": "Clopper-Pearson"}
NONE = {"value": None, "ci95": None, "method": "no image"}


def counts(**figures):
    shares = dict.fromkeys(("sensitivity", "specificity", "ppv", "npv"), HALF)
    return {"tp": 1, "fp": 2, "tn": 3000, "fn": 4, "figures": {**shares, **figures}}


def test_counts_and_shares():
    told = calls.counted(counts(ppv=NONE))
    assert told["counted"] == "1 true and 2 false positives, 3,000 true and 4 false negatives."
    assert [one["label"] for one in told["shares"]] == ["Sensitivity", "Specificity", "PPV", "NPV"]
    assert (told["shares"][0]["says"], told["shares"][0]["range"]) == ("50.0 %", "25.0 to 75.0 %")
    assert (told["shares"][2]["says"], told["shares"][2]["range"]) == ("not defined", "no such image")


def test_on_what_a_threshold_is_chosen():
    told = calls.basis("malignant", "benign", 56, 20, is_out_of_fold=True, is_grouped=True)
    assert told == (
        "56 images, 20 malignant and 36 benign, each scored by a model that had not learned from it (out of "
        "fold). The test set is not in any figure here. Intervals are 95 %, images of one group counted "
        "together."
    )
    assert "which the model did not learn from. " in calls.basis(
        "a", "b", 2, 1, is_out_of_fold=False, is_grouped=False
    )


def test_how_often_the_test_set_was_looked_at():
    assert calls.looks(0, 0) == ""
    assert calls.looks(0, 24).startswith(
        "The test set of this run (24 images) has been looked at once: after training. Choosing again"
    )
    assert "twice: after training, and with one choice of a threshold." in calls.looks(1, 24)
    assert "3 times: after training, and with each of 2 choices of a threshold." in calls.looks(2, 24)


def test_a_test_set_that_a_threshold_is_chosen_on_is_told():
    assert calls.shared(0, 24) == ""
    assert calls.shared(5, 24).startswith("5 of the 24 test images are also among these validation images")


def test_what_changes_against_the_threshold_in_use():
    assert calls.flips(0, "malignant", 0, 0.5) == (
        "No image is called otherwise than at the threshold in use, 0.5."
    )
    assert calls.flips(1, "malignant", 1, 0.12345) == (
        "Against the threshold in use, 0.123, 1 image becomes malignant: 1 of them rightly, 0 wrongly."
    )
    assert "3 images become benign: 1 of them rightly, 2 wrongly." in calls.flips(3, "benign", 1, 0.5)


def test_a_band():
    told = {"referred": 7, "figures": {"referred": HALF}}
    assert calls.band(told, (0.25, 0.75), "malignant", "benign", 56) == (
        "Below 0.25 the model says benign, from 0.75 malignant. In between, 7 of 56 images go to a person: "
        "50.0 % (25.0 to 75.0 %)."
    )


def test_what_the_test_set_says():
    test = {"n": 24, "referral": {}, **counts()}
    told = calls.tested(test, overlap=False)
    assert told["says"] == "On the test set (24 images), shown here once; the report keeps them:"
    assert told["band"] == ""
    assert "which shares images with" in calls.tested(test, overlap=True)["says"]
    shares = dict.fromkeys(("referred", "sensitivity", "specificity"), HALF)
    banded = calls.tested({**test, "referral": shares}, overlap=False)
    assert banded["band"].startswith("With the band, 50.0 % (25.0 to 75.0 %) go to a person; of the rest,")
