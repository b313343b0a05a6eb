"""Reviewers: how far their first answers agree, what they disagree on, and who settled it."""

import pytest
from sklearn.metrics import cohen_kappa_score

from desks import ask, desk_on
from pictures import write_class_folders


@pytest.fixture
def data(tmp_path):
    return write_class_folders(tmp_path / "data", {"cat": 6, "dog": 6})


def test_agreement_is_about_first_answers_and_is_that_of_scikit_learn(data):
    anna, ben = desk_on(data, actor="anna"), desk_on(data, actor="ben")
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
    low, high = (f"{end:.2f}".replace("-", "−") for end in pair["ci95"])
    assert told["table"] == [["anna and ben", "8", "75.0 %", f"{pair['kappa']:.2f}", f"{low} to {high}"]]
    assert told["so_far"] == "anna has answered 8, ben has answered 8"
    assert told["methods"] == pair["method"]
    assert [row["item"]["i"] for row in told["rows"]] == [2, 5]
    assert told["rows"][0]["answers"] == {"anna": "cat", "ben": "dog"}

    # They talk about it, and ben comes round: nothing is disputed there, and the agreement is what it was.
    ask(ben, "decide", i=2, answer="cat", seen="cat", answered="dog", apply=False)
    later = ask(anna, "agreement")
    assert [row["item"]["i"] for row in later["rows"]] == [5]
    assert later["pairs"] == told["pairs"]


def test_a_third_person_settles_what_two_disagree_on(data):
    anna, ben, carol = (desk_on(data, actor=name) for name in ("anna", "ben", "carol"))
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


def test_answers_about_a_picture_that_has_changed_do_not_count(data):
    desk = desk_on(data)
    ask(desk, "decide", i=0, answer="dog", seen="cat", apply=False)
    (data / "cat" / "000.png").write_bytes((data / "cat" / "003.png").read_bytes())
    assert ask(desk_on(data), "agreement")["reviewers"] == []


def test_three_reviewers_have_fleiss_kappa_besides_their_pairs(data):
    said = {"anna": "cat", "ben": "cat", "carol": "dog"}
    for name, answer in said.items():
        desk = desk_on(data, actor=name)
        for i in range(4):
            ask(desk, "decide", i=i, answer="dog" if i == 3 else answer, seen="cat", apply=False)
    told = ask(desk, "agreement")
    assert [(pair["a"], pair["b"]) for pair in told["pairs"]] == [
        ("anna", "ben"), ("anna", "carol"), ("ben", "carol"),
    ]  # fmt: skip
    assert told["all"]["n"] == 4
    assert told["all"]["observed"] == pytest.approx((3 * (1 / 3) + 1) / 4)
