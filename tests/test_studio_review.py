"""The review: the oddest labels first, each beside what is like it, and each reviewer's own answer kept."""

import numpy as np
import pytest

from desks import ask, desk_on, number, suspect
from pictures import write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError, LabelConflict
from tellapart.records import Predictions
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
    assert list(told["choices"].values())[:2] == ["All images in doubt", "Suspected labels (3)"]
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
    told = ask(desk, "decide", i=0, answer="dog", seen="cat", source="suggestion", why="whiskers")
    events = desk.journal.events(batch=told["batch"])
    assert [(event.field, event.old, event.new) for event in events] == [
        ("review", "", "dog"),
        ("label", "cat", "dog"),
    ]
    assert {(event.source, event.why) for event in events} == {("suggestion", "whiskers")}
    assert told["items"][0]["reviewed"] is True
    assert told["latest"]["says"] == "Of your last 1, 1 was an error"
    ask(desk, "undo")
    assert desk.catalog.item(0)["label"] == "cat"
    assert ask(desk, "queue")["latest"] == {"n": 0, "errors": 0, "excluded": 0, "says": ""}


def test_keeping_changes_no_label_and_is_an_answer(desk):
    told = ask(desk, "decide", i=0, answer="cat", seen="cat")
    assert [event.field for event in desk.journal.events()] == ["review"]
    assert told["latest"]["says"] == "Of your last 1, 0 were errors"
    queue = ask(desk, "queue")
    assert 0 in queue["images"]  # one can go back to it
    assert 0 not in queue["open"]
    assert ask(desk, "neighbours", i=0)["answer"] == "cat"


def test_an_excluded_image_is_an_answer_too_and_comes_back_with_another_answer(desk, data):
    ask(desk, "decide", i=0, answer=EXCLUDED, seen="cat")
    assert "cat/000.png" not in {sample.id for sample in Dataset.load(data).samples}
    assert ask(desk, "queue")["latest"]["says"] == "Of your last 1, 0 were errors, 1 excluded"
    ask(desk, "decide", i=0, answer="cat", seen="cat", answered=EXCLUDED)
    assert desk.catalog.item(0)["excluded"] is False
    assert ask(desk, "queue")["latest"]["says"] == "Of your last 1, 0 were errors"


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
    latest = {"n": 50, "errors": 3, "excluded": 0, "says": "Of your last 50, 3 were errors"}
    assert told["latest"] == latest


def test_an_image_that_is_not_there_is_refused(desk):
    with pytest.raises(ConfigError, match="no image number 99"):
        ask(desk, "neighbours", i=99)
    with pytest.raises(ConfigError, match="no image number 99"):
        ask(desk, "decide", i=99, answer="cat", seen="cat")
