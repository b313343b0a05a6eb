"""The label journal: nobody's change is overwritten, and each can be taken back."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from journals import relabel
from tellapart.data import journal as journal_module
from tellapart.data.journal import Journal, journal_path
from tellapart.data.label_events import Change, JournalError, LabelConflict
from tellapart.errors import ConfigError


def now(journal: Journal) -> dict[tuple[str, str], str]:
    """What is in force, folded by hand from the events; what the data give themselves is left out."""
    last = {(event.sample_id, event.field): event for event in journal.events()}
    return {key: event.new for key, event in last.items() if event.new != event.given}


def test_an_event_says_who_what_when_and_why(journal):
    [event] = journal.write(
        [relabel("a.png", "cat", "dog", why="a tail")],
        actor="anna",
        source="suggestion",
        session="tab 1",
        model="m1",
    )
    assert journal.events() == [event]
    assert (event.actor, event.old, event.new, event.why) == ("anna", "cat", "dog", "a tail")
    assert (event.seq, event.batch, event.source, event.session, event.model) == (
        1, 1, "suggestion", "tab 1", "m1",
    )  # fmt: skip
    assert event.at.endswith("+00:00")
    assert event.holds


def test_reading_makes_no_file(journal):
    assert journal.events() == []
    assert journal.batches() == []
    assert journal.verdicts() == {}
    assert journal.verify() == ""
    assert not journal.path.parent.exists()
    assert journal.write([], actor="anna") == ()
    assert not journal.path.parent.exists()


def test_two_writers_get_a_conflict_and_not_a_lost_update(journal):
    journal.write([relabel("a.png", "cat", "dog")], actor="anna")
    with pytest.raises(LabelConflict, match=r"a.png: label is dog \(by anna, 20.*\), not cat") as caught:
        journal.write([relabel("b.png", "cat", "dog"), relabel("a.png", "cat", "bird")], actor="ben")
    [clash] = caught.value.clashes
    assert (clash.found, clash.event.actor, clash.change.new) == ("dog", "anna", "bird")
    assert now(journal) == {("a.png", "label"): "dog"}  # nor was b.png changed


def test_who_saw_a_value_that_is_gone_gets_a_conflict_even_when_all_is_as_it_was(journal):
    journal.write([relabel("a.png", "cat", "dog")], actor="anna")
    journal.write([relabel("a.png", "dog", "cat")], actor="ben")
    with pytest.raises(LabelConflict, match="label is cat"):
        journal.write([relabel("a.png", "dog", "bird")], actor="anna")


def test_a_conflict_names_three_and_carries_all(journal):
    changes = [relabel(f"{i}.png", "cat", "dog") for i in range(5)]
    journal.write(changes, actor="anna")
    with pytest.raises(LabelConflict, match="and 2 more") as caught:
        journal.write(changes, actor="ben")
    assert len(caught.value.clashes) == 5


def test_threads_that_race_for_one_image_leave_one_winner(journal):
    def write(name: str) -> bool:
        try:
            journal.write([relabel("a.png", "cat", f"by {name}")], actor=name)
        except LabelConflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, "abcdefgh"))
    assert sum(won) == 1
    [event] = journal.events()
    assert event.new == f"by {'abcdefgh'[won.index(True)]}"


def test_many_writers_at_once_wait_for_one_another(journal):
    def write(name: str) -> None:
        for number in range(10):
            journal.write([relabel(f"{name}{number}.png", "cat", "dog")], actor=name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, "abcdefgh"))
    assert [event.seq for event in journal.events()] == list(range(1, 81))
    journal.verify()


def test_a_label_that_the_data_no_longer_give_is_decided_anew(journal):
    journal.write([relabel("a.png", "cat", "dog")], actor="anna")
    # Somebody has edited the manifest: it says bird now, and that is what the next writer sees.
    journal.write([relabel("a.png", "bird", "fish", given="bird")], actor="ben")
    assert now(journal) == {("a.png", "label"): "fish"}


def test_another_picture_of_the_same_name_is_decided_anew(journal):
    journal.write([relabel("a.png", "cat", "dog")], actor="anna")
    journal.write([Change("a.png", "label", "cat", "bird", "cat", sha256="00" * 32)], actor="ben")
    assert [event.sha256[:2] for event in journal.events(sample_id="a.png")] == ["5a", "00"]


def test_undo_is_an_event_and_can_be_undone(journal):
    journal.write([relabel("a.png", "cat", "dog"), relabel("b.png", "cat", "dog")], actor="anna")
    journal.write([Change("a.png", "excluded", "", "yes")], actor="anna")
    before = now(journal)
    undone = journal.undo(1, actor="ben")
    assert [(event.old, event.new, event.undoes, event.source) for event in undone] == [
        ("dog", "cat", 1, "undo"),
        ("dog", "cat", 1, "undo"),
    ]
    assert now(journal) == {("a.png", "excluded"): "yes"}
    with pytest.raises(ConfigError, match="batch 1 has been undone by batch 3"):
        journal.undo(1, actor="anna")
    journal.undo(3, actor="anna")
    assert now(journal) == before
    assert [batch.undone for batch in journal.batches()] == [False, False, True, False]
    journal.undo(1, actor="anna")  # it stands again, so it can be undone again
    assert now(journal) == {("a.png", "excluded"): "yes"}


def test_undo_takes_ones_own_last_batch_and_then_the_one_before(journal):
    journal.write([relabel("a.png", "cat", "dog")], actor="anna")
    journal.write([relabel("b.png", "cat", "dog")], actor="anna")
    journal.write([relabel("c.png", "cat", "dog")], actor="ben")
    assert [journal.undo(actor="anna")[0].sample_id for _ in range(2)] == ["b.png", "a.png"]
    with pytest.raises(ConfigError, match="anna has written nothing that stands"):
        journal.undo(actor="anna")
    assert now(journal) == {("c.png", "label"): "dog"}


def test_undo_of_what_was_changed_since_is_a_conflict(journal):
    journal.write([relabel("a.png", "cat", "dog")], actor="anna")
    journal.write([relabel("a.png", "dog", "cat")], actor="ben")
    with pytest.raises(LabelConflict, match="label is cat"):
        journal.undo(1, actor="anna")


def test_undo_without_anything_to_undo(journal):
    with pytest.raises(ConfigError, match="nothing to undo"):
        journal.undo(actor="anna")
    journal.write([relabel("a.png", "cat", "dog")], actor="anna")
    with pytest.raises(ConfigError, match=r"no batch 9 .*label history"):
        journal.undo(9, actor="anna")


def test_a_batch_undoes_whatever_order_it_wrote_in(journal):
    journal.write([relabel("a.png", "cat", "dog"), relabel("a.png", "dog", "bird")], actor="anna")
    assert now(journal) == {("a.png", "label"): "bird"}
    journal.undo(actor="anna")
    assert now(journal) == {}


edits = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")))),
        st.tuples(st.just("undo"), st.integers(1, 8)),
    ),
    max_size=8,
)


@settings(max_examples=30)
@given(edits)
def test_undoing_every_batch_from_the_last_gives_the_original(tmp_path_factory, steps):
    journal = Journal(tmp_path_factory.mktemp("undo") / "labels.sqlite")
    for step, what in steps:
        if step == "write":
            seen = {key: new for (key, _), new in now(journal).items()}
            wanted = {key: new for key, new in what if seen.get(key, "x") != new}
            journal.write([relabel(k, seen.get(k, "x"), new, "x") for k, new in wanted.items()], actor="anna")
        else:
            try:
                journal.undo(what, actor="anna")
            except (ConfigError, LabelConflict):
                continue
    for batch in reversed(journal.batches()):
        journal.undo(batch.number, actor="ben")
    assert now(journal) == {}
    journal.verify()


def test_reviewers_do_not_disturb_each_other_and_their_agreement_is_in_the_events(journal):
    answers = {
        "anna": ["cat", "cat", "dog", "dog", "dog", "cat"],
        "ben": ["cat", "dog", "dog", "dog", "cat", "cat"],
    }
    for reviewer, given_answers in answers.items():
        reviews = [Change(f"{i}.png", "review", "", a) for i, a in enumerate(given_answers)]
        journal.write(reviews, actor=reviewer)
    journal.write([Change("0.png", "review", "cat", "dog")], actor="ben")  # ben thinks again
    journal.undo(actor="ben")  # and yet again
    verdicts = journal.verdicts()
    shared = sorted(verdicts["anna"].keys() & verdicts["ben"].keys())
    first, second = ([verdicts[name][key] for key in shared] for name in ("anna", "ben"))
    # By hand: 4 of 6 agree, each said "cat" 3 times: (4/6 - 1/2) / (1 - 1/2).
    assert cohen_kappa_score(first, second) == pytest.approx(1 / 3)


def test_an_undo_leaves_another_persons_review(journal):
    changes = [relabel("a.png", "cat", "dog"), Change("a.png", "review", "", "dog")]
    journal.write(changes, actor="anna")
    journal.write([Change("b.png", "review", "", "cat")], actor="anna")
    assert [event.field for event in journal.undo(1, actor="ben")] == ["label"]
    with pytest.raises(ConfigError, match="reviews by anna, who alone can undo them"):
        journal.undo(2, actor="ben")
    assert journal.verdicts() == {"anna": {"a.png": "dog", "b.png": "cat"}}
    journal.undo(2, actor="anna")
    assert journal.verdicts() == {"anna": {"a.png": "dog"}}


def test_other_windows_ask_for_what_is_new(journal):
    journal.write([relabel("a.png", "cat", "dog")], actor="anna")
    journal.write([relabel("b.png", "cat", "dog")], actor="ben")
    assert [event.sample_id for event in journal.events(after=1)] == ["b.png"]
    assert [event.seq for event in journal.events(batch=1)] == [1]
    assert [(batch.number, batch.actor, batch.counts) for batch in journal.batches()] == [
        (1, "anna", {"label": 1}),
        (2, "ben", {"label": 1}),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (relabel("a.png", "cat", ""), "the label has 0 characters"),
        (relabel("a.png", "cat", "  "), "not all blank"),
        (relabel("a.png", "cat", "d" * 5000), "5000 characters"),
        (relabel("a.png", "cat", "\udce9"), "not valid text"),
        (relabel("a.png", "cat", "cat"), "'cat' already"),
        (relabel("", "cat", "dog"), "the image has 0 characters"),
        (relabel("a.png", "cat", "dog", why="\udce9"), "the reason"),
        (Change("a.png", "excluded", "", "maybe"), "accepted: 'yes' or nothing"),
        (Change("a.png", "colour", "", "red"), "accepted: label, excluded, flagged, review"),
    ],
)
def test_what_cannot_be_written(journal, change, message):
    with pytest.raises(ConfigError, match=message):
        journal.write([change], actor="anna")
    assert not journal.path.exists()


def test_somebody_must_be_named(journal):
    with pytest.raises(ConfigError, match="the user"):
        journal.write([relabel("a.png", "cat", "dog")], actor=" ")
    with pytest.raises(ConfigError, match="the user"):
        journal.undo(1, actor="")


def test_files_that_are_no_journal(tmp_path):
    text = tmp_path / "text.sqlite"
    text.write_text("labels, allegedly\n" * 100)
    with pytest.raises(JournalError, match="cannot be read"):
        Journal(text).events()
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE people (name TEXT)")
    connection.close()
    with pytest.raises(JournalError, match="no journal of labels; choose another file"):
        Journal(other).write([relabel("a.png", "cat", "dog")], actor="anna")
    with pytest.raises(JournalError, match="no journal of labels"):
        Journal(other).events()


def test_a_journal_of_a_newer_version(journal, monkeypatch):
    monkeypatch.setattr(journal_module, "SCHEMA_VERSION", 0)
    journal.path.parent.mkdir()
    with sqlite3.connect(journal.path) as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(JournalError, match="newer tellapart; update"):
        journal.events()


def test_a_place_that_cannot_be_written_names_the_way_out(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"cannot be written.*--journal FILE or TELLAPART_JOURNAL"):
        Journal(tmp_path / "file" / "labels.sqlite").write([relabel("a.png", "cat", "dog")], actor="anna")


def test_names_with_marks_that_mean_something_in_an_address(tmp_path):
    journal = Journal(tmp_path / "what? 100%#1" / "labels.sqlite")
    journal.write([relabel("a.png", "cat", "dog")], actor="anna")
    assert journal.path.is_file()
    assert len(journal.events()) == 1


def test_where_a_journal_lies(tmp_path, monkeypatch):
    monkeypatch.delenv("TELLAPART_JOURNAL", raising=False)
    folder, manifest = tmp_path / "photos", tmp_path / "skin.v2.csv"
    folder.mkdir()
    assert journal_path(folder) == folder / ".tellapart" / "labels.sqlite"
    assert journal_path(manifest) == tmp_path / "skin.v2.labels.sqlite"
    assert journal_path(folder, "here.db") == Path("here.db")
    monkeypatch.setenv("TELLAPART_JOURNAL", str(tmp_path / "one.sqlite"))
    assert journal_path(folder) == tmp_path / "one.sqlite"
    monkeypatch.setenv("TELLAPART_JOURNAL", str(tmp_path / "all"))
    first, second = journal_path(folder), journal_path(tmp_path / "elsewhere" / "photos")
    assert first.parent == tmp_path / "all"
    assert first.name.startswith("photos-")
    assert first != second
    monkeypatch.chdir(tmp_path)
    assert journal_path("photos") == first  # the same data, however they are named


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_a_journal_in_a_read_only_folder_is_read():
    script = (
        "import os, sys;"
        "from tellapart.data.journal import Journal; from tellapart.data.label_events import Change;"
        "os.geteuid() or os.setuid(65534);"  # root may write everywhere, nobody nowhere
        "journal = Journal(sys.argv[1]); print(len(journal.events()));"
        "journal.write([Change('b.png', 'label', 'cat', 'dog', 'cat')], actor='ben')"
    )
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "labels.sqlite")
        journal.write([relabel("a.png", "cat", "dog")], actor="anna")
        journal.path.chmod(0o444)
        Path(folder).chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", script, str(journal.path)], capture_output=True, text=True
        )
        Path(folder).chmod(0o755)
    assert done.stdout == "1\n"
    assert "cannot be written" in done.stderr.splitlines()[-1]
    assert "--journal FILE or TELLAPART_JOURNAL" in done.stderr.splitlines()[-1]
