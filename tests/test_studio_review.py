"""The review: the oddest labels first, each reviewer's own answer kept, and how far reviewers agree."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from desks import ask, desk_on, number, suspect
from pictures import write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError, LabelConflict
from tellapart.records import Predictions
from tellapart.studio.agreement import cohen, fleiss
from tellapart.studio.verdicts import EXCLUDED

FINDINGS = [
    suspect("cat/001.png", "cat", "dog", 0.2, neighbours=(("dog/000.png", "dog"), ("cat/000.png", "cat"))),
    suspect("cat/000.png", "cat", "dog", 0.1),
    suspect("dog/002.png", "dog", "cat", 0.3),
]


@pytest.fixture
def data(tmp_path):
    return write_class_folders(tmp_path / "data", {"cat": 6, "dog": 6})


def reviewing(data, actor="anna"):
    """A desk with three suspected labels, and a run that sees two test images otherwise."""
    desk = desk_on(data, actor=actor)
    desk.catalog.attach_findings(FINDINGS)
    ids = ("cat/000.png", "cat/004.png", "cat/005.png", "dog/004.png", "dog/005.png")
    y_prob = np.array([[0.1, 0.9], [0.4, 0.6], [0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    predictions = Predictions(ids, np.array([0, 0, 0, 1, 1]), y_prob, ("cat", "dog"))
    desk.catalog.attach("run", predictions, predictions.y_pred)
    return desk


@pytest.fixture
def desk(data):
    return reviewing(data)


def names(desk, numbers):
    return [desk.given.samples[i].id for i in numbers]


def test_suspected_labels_come_first_then_what_the_run_sees_otherwise(desk):
    told = ask(desk, "queue")
    assert names(desk, told["images"]) == [
        "cat/000.png",  # 0.1 for its own label; also seen otherwise by the run, and here once
        "cat/001.png",
        "dog/002.png",
        "dog/004.png",  # the run gives its label 0.2
        "cat/004.png",  # and this one's 0.4
    ]
    assert told["open"] == told["images"]
    assert told["reasons"] == {"suspected": 3, "disagreement": 2}
    assert names(desk, ask(desk, "queue", reason="disagreement")["images"]) == ["dog/004.png", "cat/004.png"]


def test_an_image_comes_with_its_neighbours_and_probabilities(desk):
    told = ask(desk, "neighbours", i=number(desk, "cat/001.png"))
    assert (told["reason"], told["suggested"]) == ("suspected", "dog")
    assert told["probability"] == {"cat": 0.2, "dog": 0.8}
    assert [(one["id"], one["label"]) for one in told["neighbours"]] == [
        ("dog/000.png", "dog"),
        ("cat/000.png", "cat"),
    ]
    seen = ask(desk, "neighbours", i=number(desk, "dog/004.png"))
    assert (seen["reason"], seen["suggested"], seen["by"]) == ("disagreement", "cat", "the run run")
    assert seen["probability"] == {"cat": 0.8, "dog": 0.2}


def test_neighbours_have_the_labels_that_are_in_force(desk):
    dog = number(desk, "dog/000.png")
    ask(desk, "write", items=[dog], field="label", seen=["dog"], new="bird")
    told = ask(desk, "neighbours", i=number(desk, "cat/001.png"))
    assert told["neighbours"][0]["label"] == "bird"


def test_accepting_changes_the_label_and_keeps_the_answer_in_one_batch(desk, data):
    told = ask(desk, "decide", i=0, answer="dog", seen="cat", source="suggestion", model="m1")
    events = desk.journal.events(batch=told["batch"])
    assert [(event.field, event.old, event.new) for event in events] == [
        ("review", "", "dog"),
        ("label", "cat", "dog"),
    ]
    assert {(event.source, event.model) for event in events} == {("suggestion", "m1")}
    assert told["items"][0]["reviewed"] is True
    assert told["latest"] == {"n": 1, "errors": 1, "excluded": 0}
    ask(desk, "undo")
    assert desk.catalog.item(0)["label"] == "cat"
    assert ask(desk, "queue")["latest"] == {"n": 0, "errors": 0, "excluded": 0}


def test_keeping_changes_no_label_and_is_an_answer(desk):
    told = ask(desk, "decide", i=0, answer="cat", seen="cat")
    assert [event.field for event in desk.journal.events()] == ["review"]
    assert told["latest"] == {"n": 1, "errors": 0, "excluded": 0}
    queue = ask(desk, "queue")
    assert 0 in queue["images"]  # one can go back to it
    assert 0 not in queue["open"]
    assert ask(desk, "neighbours", i=0)["answer"] == "cat"


def test_an_excluded_image_is_an_answer_too_and_comes_back_with_another_answer(desk, data):
    ask(desk, "decide", i=0, answer=EXCLUDED, seen="cat")
    assert "cat/000.png" not in {sample.id for sample in Dataset.load(data).samples}
    assert ask(desk, "queue")["latest"] == {"n": 1, "errors": 0, "excluded": 1}
    ask(desk, "decide", i=0, answer="cat", seen="cat", answered=EXCLUDED)
    assert desk.catalog.item(0)["excluded"] is False
    assert ask(desk, "queue")["latest"] == {"n": 1, "errors": 0, "excluded": 0}


def test_a_blind_answer_leaves_the_label_alone(desk):
    told = ask(desk, "decide", i=0, answer="dog", seen="cat", apply=False)
    assert told["items"][0]["label"] == "cat"
    assert told["latest"]["errors"] == 1
    again = ask(desk, "decide", i=0, answer="dog", seen="cat", answered="dog")  # now make it so
    assert again["items"][0]["label"] == "dog"
    assert [event.field for event in desk.journal.events()] == ["review", "label"]


def test_who_keeps_what_somebody_else_changed_meanwhile_is_told(desk, data):
    ask(reviewing(data, "ben"), "decide", i=0, answer="dog", seen="cat")
    with pytest.raises(LabelConflict, match="label is dog"):
        ask(desk, "decide", i=0, answer="cat", seen="cat")
    assert desk.journal.verdicts() == {"ben": {"cat/000.png": "dog"}}


def test_a_second_reviewer_gets_the_images_that_the_first_corrected(desk, data):
    for i in ask(desk, "queue")["images"]:
        suggested = ask(desk, "neighbours", i=i)["suggested"]
        ask(desk, "decide", i=i, answer=suggested, seen=desk.catalog.label(i))
    assert ask(desk, "queue")["open"] == []
    second = ask(reviewing(data, "ben"), "queue")
    assert second["open"] == second["images"] == ask(desk, "queue")["images"]


def test_a_label_that_was_corrected_in_the_grid_need_not_be_reviewed(desk):
    ask(desk, "write", items=[0], field="label", seen=["cat"], new="dog")
    assert 0 not in ask(desk, "queue")["open"]


def test_errors_are_counted_among_the_last_fifty_answers(data, tmp_path):
    big = write_class_folders(tmp_path / "big", {"cat": 60, "dog": 1}, size=(8, 8))
    desk = desk_on(big)
    for i in range(5):  # five errors that are long ago
        ask(desk, "decide", i=i, answer="dog", seen="cat")
    for i in range(5, 55):
        answer = "dog" if i in (7, 30, 54) else "cat"
        told = ask(desk, "decide", i=i, answer=answer, seen="cat")
    assert told["latest"] == {"n": 50, "errors": 3, "excluded": 0}


def test_agreement_is_about_first_answers_and_is_that_of_scikit_learn(data):
    anna, ben = reviewing(data, "anna"), reviewing(data, "ben")
    said_by_anna = ["cat", "dog", "cat", "cat", "dog", "dog", "dog", "cat"]
    said_by_ben = ["cat", "dog", "dog", "cat", "dog", "cat", "dog", "cat"]
    for desk, said in ((anna, said_by_anna), (ben, said_by_ben)):
        for i, answer in enumerate(said):
            ask(desk, "decide", i=i, answer=answer, seen=desk.catalog.label(i), apply=False)
    told = ask(anna, "agreement")
    assert told["reviewers"] == [{"name": "anna", "n": 8}, {"name": "ben", "n": 8}]
    [pair] = told["pairs"]
    assert (pair["a"], pair["b"], pair["n"], pair["observed"]) == ("anna", "ben", 8, 0.75)
    assert pair["kappa"] == pytest.approx(cohen_kappa_score(said_by_anna, said_by_ben))
    assert pair["ci95"][0] < pair["kappa"] < pair["ci95"][1]
    assert [row["item"]["i"] for row in told["rows"]] == [2, 5]
    assert told["rows"][0]["answers"] == {"anna": "cat", "ben": "dog"}

    # They talk about it, and ben comes round: nothing is disputed there, and the agreement is what it was.
    ask(ben, "decide", i=2, answer="cat", seen="cat", answered="dog", apply=False)
    later = ask(anna, "agreement")
    assert [row["item"]["i"] for row in later["rows"]] == [5]
    assert later["pairs"] == told["pairs"]


def test_a_third_person_settles_what_two_disagree_on(data):
    anna, ben, carol = (reviewing(data, name) for name in ("anna", "ben", "carol"))
    for i in (0, 1):
        ask(anna, "decide", i=i, answer="cat", seen="cat", apply=False)
        ask(ben, "decide", i=i, answer="dog", seen="cat", apply=False)
    ask(carol, "decide", i=0, answer="dog", seen="cat", source="adjudication")
    told = ask(carol, "agreement")
    assert [reviewer["name"] for reviewer in told["reviewers"]] == [
        "anna",
        "ben",
    ]  # she answered nothing blindly
    assert [(row["item"]["i"], bool(row["settled"])) for row in told["rows"]] == [(1, False), (0, True)]
    assert told["rows"][1]["settled"]["actor"] == "carol"
    assert told["rows"][1]["item"]["label"] == "dog"

    ask(carol, "undo")
    assert [row["settled"] for row in ask(carol, "agreement")["rows"]] == [None, None]
    ask(carol, "undo", redo=True)
    assert [bool(row["settled"]) for row in ask(carol, "agreement")["rows"]] == [False, True]


def test_answers_about_a_picture_that_has_changed_do_not_count(desk, data):
    ask(desk, "decide", i=0, answer="dog", seen="cat", apply=False)
    (data / "cat" / "000.png").write_bytes((data / "cat" / "003.png").read_bytes())
    assert ask(reviewing(data), "agreement")["reviewers"] == []


def test_three_reviewers_have_fleiss_kappa_besides_their_pairs(data):
    said = {"anna": "cat", "ben": "cat", "carol": "dog"}
    for name, answer in said.items():
        desk = reviewing(data, name)
        for i in range(4):
            ask(desk, "decide", i=i, answer="dog" if i == 3 else answer, seen="cat", apply=False)
    told = ask(desk, "agreement")
    assert [(pair["a"], pair["b"]) for pair in told["pairs"]] == [
        ("anna", "ben"), ("anna", "carol"), ("ben", "carol"),
    ]  # fmt: skip
    assert told["all"]["n"] == 4
    assert told["all"]["observed"] == pytest.approx((3 * (1 / 3) + 1) / 4)


def test_an_image_that_is_not_there_is_refused(desk):
    with pytest.raises(ConfigError, match="no image number 99"):
        ask(desk, "neighbours", i=99)
    with pytest.raises(ConfigError, match="no image number 99"):
        ask(desk, "decide", i=99, answer="cat", seen="cat")


# ---- the figures themselves ------------------------------------------------------------------------------


def table(counts: dict[tuple[str, str], int]) -> list[tuple[str, str]]:
    return [pair for pair, n in counts.items() for _ in range(n)]


def test_cohens_kappa_and_its_interval_are_those_of_a_published_example():
    """Fleiss, Levin and Paik, "Statistical methods for rates and proportions", 3rd ed., table 18.1."""
    answers = table(
        {
            ("psychotic", "psychotic"): 75, ("psychotic", "neurotic"): 1, ("psychotic", "organic"): 4,
            ("neurotic", "psychotic"): 5, ("neurotic", "neurotic"): 4, ("neurotic", "organic"): 1,
            ("organic", "psychotic"): 0, ("organic", "neurotic"): 0, ("organic", "organic"): 10,
        }
    )  # fmt: skip
    found = cohen(answers)
    assert found.kappa == pytest.approx(0.676, abs=5e-4)
    assert (found.ci95[1] - found.ci95[0]) / 2 / 1.96 == pytest.approx(0.088, abs=5e-4)  # standard error


def test_the_interval_of_cohens_kappa_covers_what_many_samples_give():
    rng = np.random.default_rng(1)
    share = {("a", "a"): 0.5, ("a", "b"): 0.1, ("b", "a"): 0.1, ("b", "b"): 0.3}
    chance = 0.6 * 0.6 + 0.4 * 0.4
    true = (0.8 - chance) / (1 - chance)
    covered = 0
    for _ in range(400):
        counts = dict(zip(share, rng.multinomial(150, list(share.values())).tolist(), strict=True))
        low, high = cohen(table(counts)).ci95
        covered += low <= true <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_kappa_where_all_agree_has_an_honest_lower_limit():
    few, many = cohen([("a", "a"), ("b", "b")] * 3), cohen([("a", "a"), ("b", "b")] * 100)
    assert few.kappa == many.kappa == 1
    assert few.ci95[0] < 0.2 < 0.9 < many.ci95[0]
    assert fleiss([("a",) * 3, ("b",) * 3] * 3).ci95[0] < 0.2


@pytest.mark.parametrize("answers", [[], [("a", "a")] * 4])
def test_kappa_is_not_defined_without_two_answers_that_differ(answers):
    assert cohen(answers).kappa is None
    assert fleiss(answers).kappa is None


def test_fleiss_kappa_is_that_of_his_example():
    """Fleiss 1971 as told in the literature: 10 subjects, 14 raters, 5 categories, kappa 0.210."""
    counts = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    answers = [tuple("abcde"[k] for k, n in enumerate(row) for _ in range(n)) for row in counts]
    found = fleiss(answers)
    assert found.kappa == pytest.approx(0.210, abs=5e-4)
    assert found.ci95[0] < 0.210 < found.ci95[1]
