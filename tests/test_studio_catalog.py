"""The catalog: columns in step with the journal, choices, orders and counts."""

from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pictures import solid, write_class_folders
from tellapart.audit.findings import Finding
from tellapart.data.corrections import Corrections, as_given
from tellapart.data.dataset import Dataset
from tellapart.data.journal import Journal
from tellapart.data.label_events import Change
from tellapart.errors import ConfigError, EmptyDataset, JournalError
from tellapart.records import Predictions
from tellapart.studio.catalog import Catalog
from tellapart.studio.operation import Arguments
from tellapart.studio.query import Query


@pytest.fixture
def folder(tmp_path):
    """Three of each: benign 0-2, malignant 3-5."""
    return write_class_folders(tmp_path / "photos", {"benign": 3, "malignant": 3})


@pytest.fixture
def catalog(folder):
    return Catalog(as_given(folder), Journal(folder / ".tellapart" / "labels.sqlite"), "ada")


def change(catalog, i, new, field="label"):
    sample = catalog.given.samples[i]
    old = catalog.label(i) if field == "label" else "yes" if not new else ""
    given = sample.label if field == "label" else ""
    return Change(sample.id, field, old, new, given, catalog.sha256(i))


def write(catalog, i, new, field="label", actor="ada"):
    return catalog.journal.write([change(catalog, i, new, field)], actor=actor)


def chosen(catalog, **query):
    return catalog.select(Query(**query)).tolist()


def predictions(catalog, rows, class_names=("benign", "malignant"), y_true=None):
    """Of some images: {number: probability of the last class}."""
    p = np.array(list(rows.values()))
    ids = tuple(catalog.given.samples[i].id for i in rows)
    truth = np.array([int(i > 2) for i in rows] if y_true is None else y_true)
    return Predictions(ids, truth, np.stack([1 - p, p], axis=1), class_names)


def suspect(catalog, i, suggested, p):
    sample = catalog.given.samples[i]
    details = {
        "label": sample.label,
        "suggested": suggested,
        "probability": {sample.label: p, suggested: 1 - p},
    }
    return Finding("suspected label", "warning", "look at it", (sample.id,), details)


# ---- what is decided ---------------------------------------------------------------------------------------


def test_without_a_journal_the_data_decide(catalog):
    assert len(catalog) == 6
    assert catalog.class_names == ("benign", "malignant")
    assert catalog.version == 0
    assert [catalog.label(i) for i in range(6)] == ["benign"] * 3 + ["malignant"] * 3
    assert not catalog.journal.path.exists()


def test_what_another_process_writes_is_taken_in(catalog):
    write(catalog, 1, "naevus", actor="bob")
    write(catalog, 2, "yes", "excluded")
    write(catalog, 2, "yes", "flagged")
    catalog.refresh()
    assert (catalog.label(1), catalog.is_excluded(2), catalog.is_flagged(2)) == ("naevus", True, True)
    assert catalog.version == 3
    assert catalog.class_names == ("benign", "malignant", "naevus")
    assert catalog.item(1)["changed"] is True
    assert catalog.counts() == {"benign": 2, "malignant": 3, "naevus": 1}


def test_an_undo_restores_and_takes_the_new_class_away(catalog):
    write(catalog, 1, "naevus")
    catalog.refresh()
    catalog.journal.undo(actor="ada")
    catalog.refresh()
    assert catalog.label(1) == "benign"
    assert catalog.class_names == ("benign", "malignant")
    assert chosen(catalog, by=("ada",)) == []


def test_a_decision_on_another_content_is_not_in_force(folder, catalog):
    write(catalog, 0, "malignant")
    solid("red").save(catalog.given.samples[0].path)
    assert Catalog(as_given(folder), catalog.journal).label(0) == "benign"


def test_a_decision_on_another_label_of_the_data_is_not_in_force(folder, catalog):
    write(catalog, 0, "naevus")
    relabelled = replace(as_given(folder).samples[0], label="malignant")
    samples = (relabelled, *as_given(folder).samples[1:])
    now = Catalog(replace(as_given(folder), samples=samples), catalog.journal)
    assert now.label(0) == "malignant"


def test_events_about_images_that_are_gone_are_passed_over(folder, catalog):
    write(catalog, 0, "malignant")
    catalog.given.samples[0].path.unlink()
    now = Catalog(as_given(folder), catalog.journal)
    assert now.version == 1
    assert [now.label(i) for i in range(5)] == ["benign"] * 2 + ["malignant"] * 3


def test_another_journal_in_its_place_is_noticed(catalog):
    write(catalog, 0, "malignant")
    catalog.refresh()
    catalog.journal.path.unlink()
    catalog.refresh()
    assert (catalog.version, catalog.label(0)) == (0, "benign")
    write(catalog, 1, "malignant")
    catalog.refresh()
    assert [catalog.label(i) for i in (0, 1)] == ["benign", "malignant"]


def test_a_journal_that_was_tampered_with_is_refused(folder, catalog):
    import sqlite3

    write(catalog, 0, "malignant")
    with sqlite3.connect(catalog.journal.path) as connection:
        connection.execute("DROP TRIGGER no_UPDATE")
        connection.execute("UPDATE event SET actor = 'mallory'")
    with pytest.raises(JournalError, match="not as it was written"):
        Catalog(as_given(folder), catalog.journal)


def test_only_images_that_the_journal_mentions_are_read(folder, catalog, monkeypatch):
    write(catalog, 4, "benign")
    read = []
    monkeypatch.setattr("tellapart.studio.digests.hash_file", lambda sample: read.append(sample.id) or "0")
    Catalog(as_given(folder), catalog.journal)
    assert read == ["malignant/001.png"]


steps = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from(
            [
                ("label", "benign"),
                ("label", "malignant"),
                ("label", "new"),
                ("excluded", "yes"),
                ("excluded", ""),
                ("flagged", "yes"),
                ("flagged", ""),
            ]
        ),
        st.booleans(),
    ),
    max_size=20,
)


@settings(max_examples=25)
@given(steps)
def test_it_says_what_corrections_say(tmp_path_factory, steps):
    """Whatever is written and undone, step by step or all at once."""
    folder = write_class_folders(tmp_path_factory.mktemp("data"), {"benign": 3, "malignant": 3}, size=(4, 4))
    journal = Journal(tmp_path_factory.mktemp("journal") / "labels.sqlite")
    catalog = Catalog(as_given(folder), journal)
    for i, (field, new), undo in steps:
        now = catalog.label(i) if field == "label" else "yes" if catalog.item(i)[field] else ""
        if undo and catalog.version:
            try:
                journal.undo(actor="ada")
            except ConfigError:
                continue
        elif now != new:
            write(catalog, i, new, field)
        catalog.refresh()
    told = Corrections.find(catalog.given.samples, journal.path)
    for one in (catalog, Catalog(as_given(folder), journal)):
        for i, sample in enumerate(one.given.samples):
            assert one.label(i) == told.value(sample, "label")
            assert one.is_excluded(i) == (told.value(sample, "excluded") == "yes")
            assert one.is_flagged(i) == (told.value(sample, "flagged") == "yes")
        assert one.version == told.seq


def test_current_is_what_the_data_layer_loads(folder, catalog):
    assert catalog.current() is catalog.given
    write(catalog, 0, "malignant")
    write(catalog, 5, "yes", "excluded")
    assert catalog.current() == Dataset.load(folder)
    assert catalog.current() is catalog.current()


def test_current_of_nothing_is_an_error(catalog):
    catalog.journal.write([change(catalog, i, "yes", "excluded") for i in range(6)], actor="ada")
    with pytest.raises(EmptyDataset, match="every image"):
        catalog.current()


def test_a_review_is_its_own_reviewers(folder, catalog):
    write(catalog, 0, "benign", "review", actor="bob")
    write(catalog, 1, "benign", "review", actor="ada")
    catalog.refresh()
    assert [catalog.item(i)["reviewed"] for i in (0, 1)] == [False, True]
    assert chosen(catalog, reviewed=("yes",)) == [1]


# ---- choosing, ordering, counting --------------------------------------------------------------------------


def test_a_class_is_chosen_by_the_label_in_force(catalog):
    write(catalog, 0, "malignant")
    assert chosen(catalog, label=("malignant",)) == [0, 3, 4, 5]
    assert chosen(catalog, given=("benign",)) == [0, 1, 2]
    assert chosen(catalog, label=("malignant",), changed=("yes",)) == [0]
    assert chosen(catalog, label=("benign", "malignant")) == list(range(6))
    assert chosen(catalog, label=("nothing",)) == []


def test_search_is_in_any_case(catalog):
    assert chosen(catalog, search="gnant/00") == [3, 4, 5]
    assert chosen(catalog, search="002") == [2, 5]


def test_marks_and_who_made_them(catalog):
    write(catalog, 0, "yes", "excluded", actor="bob")
    write(catalog, 1, "yes", "flagged")
    assert chosen(catalog, excluded=("yes",)) == [0]
    assert chosen(catalog, excluded=("no",)) == [1, 2, 3, 4, 5]
    assert chosen(catalog, flagged=("yes",)) == [1]
    assert chosen(catalog, by=("bob",)) == [0]


def test_predictions_are_right_by_the_label_in_force(catalog):
    catalog.attach("run", predictions(catalog, {0: 0.2, 1: 0.9, 4: 0.7}), np.array([0, 1, 1]))
    assert chosen(catalog, correct=("right",)) == [0, 4]
    assert chosen(catalog, correct=("wrong",)) == [1]
    assert chosen(catalog, predicted=("malignant",)) == [1, 4]
    write(catalog, 1, "malignant")
    assert chosen(catalog, correct=("wrong",)) == []
    assert catalog.predictions.at(2) is None
    told = catalog.predictions.at(1)
    assert (told.predicted, told.p) == ("malignant", pytest.approx(0.9))
    assert catalog.item(1)["predicted"] == "malignant"
    assert catalog.item(2)["p"] is None


def test_a_decision_by_threshold_is_believed(catalog):
    catalog.attach("run", predictions(catalog, {0: 0.3}), np.array([1]))
    assert catalog.item(0)["predicted"] == "malignant"
    assert catalog.item(0)["p"] == 0.3


def test_a_run_that_joined_classes_is_judged_by_its_own(catalog):
    joined = predictions(catalog, {0: 0.1, 3: 0.9, 4: 0.8}, ("harmless", "harmful"), [0, 1, 1])
    catalog.attach("joined", joined, np.array([0, 1, 0]))
    assert chosen(catalog, correct=("right",)) == [0, 3]
    assert chosen(catalog, correct=("wrong",)) == [4]
    assert [catalog.item(i)["correct"] for i in (0, 4, 5)] == [True, False, None]
    write(catalog, 0, "never seen")
    assert chosen(catalog, correct=("right",)) == [3]


def test_several_runs_are_told_apart_by_name(catalog):
    catalog.attach("first", predictions(catalog, {0: 0.2}), np.array([0]))
    catalog.attach("second", predictions(catalog, {0: 0.8}), np.array([1]), shown=False)
    assert chosen(catalog, predicted=("malignant",)) == []
    assert chosen(catalog, predicted=("malignant",), run="second") == [0]
    assert catalog.item(0)["predicted"] == "benign"
    assert catalog.item(0, "second")["predicted"] == "malignant"
    for k in range(6):
        catalog.attach(f"more {k}", predictions(catalog, {0: 0.2}), np.array([0]), shown=False)
    assert catalog.predictions.name == "first"
    assert catalog.run("second") is None


def test_findings_by_kind(catalog):
    dark = Finding("dark", "note", "some are dark", tuple(catalog.given.samples[i].id for i in (0, 5)))
    catalog.attach_findings([suspect(catalog, 1, "malignant", 0.1), dark])
    assert chosen(catalog, finding=("dark",)) == [0, 5]
    assert chosen(catalog, finding=("dark", "suspected label")) == [0, 1, 5]
    item = catalog.item(1)
    assert (item["suggested"], item["score"], item["findings"]) == ("malignant", 0.1, ["suspected label"])
    assert catalog.item(0)["suggested"] is None
    catalog.attach_findings([])
    assert catalog.has_findings
    assert chosen(catalog, finding=("dark",)) == []


def test_orders(catalog):
    catalog.attach("run", predictions(catalog, {0: 0.2, 1: 0.9, 4: 0.7}), np.array([0, 1, 1]))
    catalog.attach_findings([suspect(catalog, 4, "benign", 0.05)])
    assert chosen(catalog, descending=True) == [5, 4, 3, 2, 1, 0]
    assert chosen(catalog, sort="confidence") == [4, 0, 1, 2, 3, 5]  # not known: last, by name
    assert chosen(catalog, sort="confidence", descending=True) == [1, 0, 4, 2, 3, 5]
    assert chosen(catalog, sort="error") == [4, 1, 0, 2, 3, 5]
    assert sorted(chosen(catalog, sort="random")) == [0, 1, 2, 3, 4, 5]
    assert chosen(catalog, sort="random") == chosen(catalog, sort="random")


def test_by_size_of_the_file(folder):
    (folder / "benign" / "001.png").write_bytes(b"")
    given = as_given(folder)
    given.samples[3].path.unlink()
    catalog = Catalog(given, Journal(folder / "none.sqlite"))
    assert chosen(catalog, sort="size")[0] == 1
    assert chosen(catalog, sort="size")[-1] == 3  # not there: last


def test_facets_count_what_the_other_facets_choose(catalog):
    catalog.attach("run", predictions(catalog, {0: 0.2, 1: 0.9, 4: 0.7}), np.array([0, 1, 1]))
    write(catalog, 5, "yes", "flagged")
    told = catalog.facets(Query(label=("benign",), correct=("wrong",)))
    assert told["label"] == {"benign": 1, "malignant": 0}
    assert told["correct"] == {"right": 1, "wrong": 1}
    assert told["predicted"] == {"malignant": 1}
    assert catalog.facets(Query())["flagged"] == {"no": 5, "yes": 1}
    assert catalog.facets(Query(finding=("gone",)))["finding"] == {"gone": 0}


def test_many_threads_ask_while_one_writes(catalog):
    failed = []

    def ask():
        try:
            for _ in range(30):
                catalog.facets(Query(label=("benign",)))
                catalog.select(Query(sort="error"))
        except Exception as exc:
            failed.append(exc)

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for k in range(10):
        write(catalog, 0, ("malignant", "benign")[k % 2])
        catalog.refresh()
    for thread in threads:
        thread.join()
    assert failed == []
    assert catalog.version == 10


# ---- queries -----------------------------------------------------------------------------------------------


def test_a_query_is_read_from_an_address():
    query = Query.read(
        Arguments({"label": r"a,b\,c,d\\", "correct": "wrong", "search": " X ", "sort": "size"})
    )
    assert query == Query(label=("a", "b,c", "d\\"), correct=("wrong",), search="x", sort="size")
    assert Query.read(Arguments({"label": ["a,b"], "descending": True})) == Query(
        label=("a,b",), descending=True
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"correct": "maybe"}, "correct is 'maybe'; accepted: wrong or right"),
        ({"flagged": ["yes", "1"]}, "accepted: no or yes"),
        ({"sort": "colour"}, "accepted: one of name"),
        ({"label": 3}, "accepted: a list of texts"),
        ({"descending": "yes"}, "true or false"),
    ],
)
def test_what_no_query_can_be_is_refused(values, told):
    with pytest.raises(ConfigError, match=told):
        Query.read(Arguments(values))
