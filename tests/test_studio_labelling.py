"""Writing labels from a page: durable, in one batch, never over somebody else's, and undone to the last."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desks import ask, desk_on
from pictures import write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.data.reader import hash_file
from tellapart.errors import ConfigError, LabelConflict, ReadOnly
from tellapart.studio import digests
from tellapart.studio.answers import answered

N = 8


@pytest.fixture
def data(tmp_path):
    """Four cats, numbers 0 to 3, and four dogs, 4 to 7."""
    return write_class_folders(tmp_path / "data", {"cat": 4, "dog": 4})


@pytest.fixture
def desk(data):
    return desk_on(data)


def labels(data: Path) -> dict[str, str]:
    """What a training would take: excluded images are not there."""
    return {sample.id: sample.label for sample in Dataset.load(data).samples}


def test_what_was_written_is_what_a_training_takes(desk, data):
    told = ask(desk, "write", items=[0], field="label", seen=["cat"], new="dog", why="a tail", window="w1")
    assert (told["batch"], told["version"]) == (1, 1)
    [item] = told["items"]
    assert (item["i"], item["label"], item["given"], item["changed"]) == (0, "dog", "cat", True)
    [event] = desk.journal.events()
    assert (event.actor, event.session, event.source, event.why) == ("anna", "w1", "key", "a tail")
    assert event.sha256 == desk.catalog.sha256(0)
    assert labels(data)["cat/000.png"] == "dog"


def test_many_images_are_one_batch_and_those_that_are_so_already_make_no_event(desk):
    seen = ["cat", "cat", "dog"]
    told = ask(desk, "write", items=[0, 1, 4], field="label", seen=seen, new="dog", source="bulk")
    assert [item["label"] for item in told["items"]] == ["dog", "dog", "dog"]
    assert [event.sample_id for event in desk.journal.events(batch=told["batch"])] == [
        "cat/000.png",
        "cat/001.png",
    ]
    nothing = ask(desk, "write", items=[4], field="label", seen=["dog"], new="dog")
    assert nothing["batch"] is None


def test_files_of_a_bulk_change_are_read_once_and_not_again_by_the_next_studio(
    tmp_path, fresh_cache, monkeypatch
):
    data = write_class_folders(tmp_path / "photos", {"cat": 12, "dog": 1})
    read, an_hour_later = [], time.time() + 3600
    monkeypatch.setattr(digests.time, "time", lambda: an_hour_later)  # or the files would be too new to trust
    monkeypatch.setattr(digests, "hash_file", lambda sample: read.append(sample.id) or hash_file(sample))
    values = {"items": list(range(12)), "field": "label", "seen": ["cat"] * 12, "new": "dog"}
    ask(desk_on(data), "write", **values)
    assert len(read) == 12
    assert desk_on(data).catalog.counts() == {"cat": 0, "dog": 13}
    assert len(read) == 12


def test_marks_hold_and_are_taken_off(desk, data):
    ask(desk, "write", items=[2], field="excluded", seen=[""], new="yes", why="blurred")
    ask(desk, "write", items=[3], field="flagged", seen=[""], new="yes")
    assert desk.catalog.is_excluded(2)
    assert desk.catalog.is_flagged(3)
    assert "cat/002.png" not in labels(data)
    told = ask(desk, "write", items=[2], field="excluded", seen=["yes"], new="")
    assert told["items"][0]["excluded"] is False
    assert "cat/002.png" in labels(data)


def test_of_two_people_the_second_gets_a_conflict(desk, data):
    other = desk_on(data, actor="ben")
    assert other.catalog.label(0) == "cat"
    ask(desk, "write", items=[0], field="label", seen=["cat"], new="dog")
    with pytest.raises(LabelConflict, match=r"cat/000.png: label is dog \(by anna") as caught:
        ask(other, "write", items=[0, 1], field="label", seen=["cat", "cat"], new="bird")
    [clash] = caught.value.clashes
    assert (clash.found, clash.change.old, clash.event.actor) == ("dog", "cat", "anna")
    assert labels(data)["cat/001.png"] == "cat"  # all or nothing


def test_who_wants_an_image_to_stay_as_it_was_is_told_that_it_is_not(desk, data):
    other = desk_on(data, actor="ben")
    ask(desk, "write", items=[4], field="label", seen=["dog"], new="cat")
    with pytest.raises(LabelConflict, match=r"dog/000.png: label is cat \(by anna, .*\), not dog"):
        ask(other, "write", items=[4, 0], field="label", seen=["dog", "cat"], new="dog")


def test_a_conflict_tells_of_every_image_however_many(tmp_path):
    desk = desk_on(write_class_folders(tmp_path / "data", {"cat": 1, "dog": 600}))
    numbers = list(range(1, 601))
    ask(desk, "write", items=numbers, field="label", seen=["dog"] * 600, new="cat")
    for new in ("fox", "dog"):  # another label, and the one that was seen
        values = {"items": numbers, "field": "label", "seen": ["dog"] * 600, "new": new}
        status, text = answered(desk, "write", values)
        clashes = json.loads(text)["clashes"]
        assert (status, [clash["i"] for clash in clashes]) == (409, numbers)
        assert {(clash["found"], clash["by"]) for clash in clashes} == {("cat", "anna")}


def test_another_window_hears_of_it(desk, data):
    other = desk_on(data, actor="ben")
    start = ask(other, "changes", after=0)["version"]
    ask(desk, "write", items=[0, 1], field="label", seen=["cat", "cat"], new="dog")
    heard = ask(other, "changes", after=start)
    assert [(item["i"], item["label"]) for item in heard["items"]] == [(0, "dog"), (1, "dog")]
    assert ask(other, "changes", after=heard["version"]) == {
        "batch": None,
        "version": heard["version"],
        "n": 0,
        "items": [],
    }


def test_undo_and_redo_survive_a_restart(desk, data):
    for i in (0, 1):
        ask(desk, "write", items=[i], field="label", seen=["cat"], new="dog")
    again = desk_on(data)
    undone = ask(again, "undo")
    assert (undone["undid"], undone["items"][0]["i"], undone["items"][0]["label"]) == (2, 1, "cat")
    assert ask(again, "undo")["undid"] == 1
    assert set(labels(data).values()) == {"cat", "dog"}
    assert list(labels(data).values()).count("cat") == 4
    for i in (0, 1):  # the last that was undone is the first to be done again
        [item] = ask(desk_on(data), "undo", redo=True)["items"]
        assert (item["i"], item["label"]) == (i, "dog")
    with pytest.raises(ConfigError, match="nothing to redo"):
        ask(desk, "undo", redo=True)


def test_a_new_change_ends_what_can_be_redone(desk):
    ask(desk, "write", items=[0], field="label", seen=["cat"], new="dog")
    ask(desk, "undo")
    ask(desk, "write", items=[1], field="label", seen=["cat"], new="dog")
    with pytest.raises(ConfigError, match="nothing to redo"):
        ask(desk, "undo", redo=True)


def test_undo_takes_back_only_ones_own_unless_a_batch_is_named(desk, data):
    ask(desk_on(data, actor="ben"), "write", items=[0], field="label", seen=["cat"], new="dog")
    with pytest.raises(ConfigError, match="anna has written nothing"):
        ask(desk, "undo")
    told = ask(desk, "undo", batch=1, why="a slip")
    assert (told["undid"], told["batch"], told["items"][0]["label"]) == (1, 2, "cat")
    assert ask(desk, "undo", batch=2)["items"][0]["label"] == "dog"  # taking an undo back is a redo


def test_an_undo_of_what_somebody_changed_since_is_a_conflict(desk, data):
    ask(desk, "write", items=[0], field="label", seen=["cat"], new="dog")
    ask(desk_on(data, actor="ben"), "write", items=[0], field="label", seen=["dog"], new="bird")
    with pytest.raises(LabelConflict, match="label is bird"):
        ask(desk, "undo", batch=1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"items": [99]}, "there is no image number 99; they go from 0 to 7"),
        ({"items": [0, 1]}, "2 images, but 1 values seen"),
        ({"items": [0, 0], "seen": ["cat", "cat"]}, "named twice"),
        ({"field": "colour"}, "'field' is 'colour'; accepted: one of label, excluded, flagged, review"),
        ({"new": "  "}, "accepted: 1 to 4096, not all blank"),
        ({"field": "excluded", "seen": [""], "new": "perhaps"}, "accepted: 'yes' or nothing"),
        ({"source": "import"}, "accepted: one of key, bulk, suggestion, cluster"),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_line(desk, wrong, said):
    good = {"items": [0], "field": "label", "seen": ["cat"], "new": "dog"}
    with pytest.raises(ConfigError, match=said) as caught:
        ask(desk, "write", **{**good, **wrong})
    assert "\n" not in str(caught.value)
    assert desk.journal.events() == []


def test_a_desk_that_only_reads_writes_nothing(data):
    desk = desk_on(data, read_only=True)
    with pytest.raises(ReadOnly):
        ask(desk, "write", items=[0], field="label", seen=["cat"], new="dog")
    with pytest.raises(ReadOnly):
        ask(desk, "undo")
    assert not desk.journal.path.exists()


def test_what_was_acknowledged_survives_a_kill(data):
    """A process that is killed as soon as it has said a write is done has lost nothing."""
    program = (
        "import os, sys; from pathlib import Path; from desks import ask, desk_on\n"
        "desk = desk_on(Path(sys.argv[1]))\n"
        "for i in range(3): ask(desk, 'write', items=[i], field='label', seen=['cat'], new='dog')\n"
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(data)], env=_with_tests_on_the_path())
    assert killed.returncode == -9
    assert list(labels(data).values()).count("dog") == 7
    assert len(desk_on(data).journal.verify()) == 64


def _with_tests_on_the_path() -> dict[str, str]:
    here = Path(__file__).parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parent / "src"), str(here)])}


EDITS = st.lists(
    st.tuples(
        st.lists(st.integers(0, N - 1), min_size=1, max_size=N, unique=True),
        st.sampled_from(
            [("label", "cat"), ("label", "dog"), ("label", "bird"), ("excluded", "yes"), ("excluded", ""),
             ("flagged", "yes"), ("flagged", ""), ("review", "cat"), ("review", "bird")]
        ),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=25)
@given(EDITS)
def test_random_edits_undone_one_by_one_leave_what_the_data_say(edits):
    with tempfile.TemporaryDirectory() as folder:
        data = write_class_folders(Path(folder) / "data", {"cat": N // 2, "dog": N // 2})
        desk = desk_on(data)
        answers: dict[int, str] = {}
        n_written = 0
        for numbers, (field, new) in edits:
            items = [desk.catalog.item(i) for i in numbers]
            seen = [_value(item, field, answers) for item in items]
            told = ask(desk, "write", items=numbers, field=field, seen=seen, new=new)
            n_written += told["batch"] is not None
            if field == "review":
                answers.update(dict.fromkeys(numbers, new))
            assert all(_value(item, field, answers) == new for item in told["items"])
        for _ in range(n_written):
            ask(desk, "undo")
        now = [desk.catalog.item(i) for i in range(N)]
        assert now == [desk_on(data).catalog.item(i) for i in range(N)]
        assert [item["label"] for item in now] == [sample.label for sample in desk.given.samples]
        assert not any(item[mark] for item in now for mark in ("changed", "excluded", "flagged", "reviewed"))


def _value(item, field, answers) -> str:
    if field == "review":
        return answers.get(item["i"], "")
    return item["label"] if field == "label" else "yes" if item[field] else ""
