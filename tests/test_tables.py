"""predictions.csv: what is written is what is read."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.errors import DataError
from tellapart.evaluation.tables import read_predictions, write_predictions
from tellapart.records import UNKNOWN, Predictions

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


def two_images(groups=None):
    y_prob = np.array([[0.75, 0.25], [1 / 3, 2 / 3]])
    return Predictions(("a/1.jpg", "b/ü.jpg"), np.array([0, UNKNOWN]), y_prob, ("a", "b"), groups)


def test_columns_and_line_ends(tmp_path):
    write_predictions(tmp_path / "predictions.csv", two_images())
    assert (tmp_path / "predictions.csv").read_bytes().decode() == (
        "path,label,predicted,prob_a,prob_b\n"
        "a/1.jpg,a,a,0.75,0.25\n"
        "b/ü.jpg,,b,0.3333333333333333,0.6666666666666666\n"
    )


def test_groups_are_the_last_column(tmp_path):
    write_predictions(tmp_path / "predictions.csv", two_images(("lesion 1", "lesion 2")))
    with (tmp_path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assert [row["group"] for row in csv.DictReader(file)] == ["lesion 1", "lesion 2"]


def test_predicted_classes_may_be_given(tmp_path):
    write_predictions(tmp_path / "predictions.csv", two_images(), np.array([1, 1]))
    assert ",a,b,0.75" in (tmp_path / "predictions.csv").read_text(encoding="utf-8")


@settings(max_examples=40, deadline=None)
@given(st.lists(names, min_size=2, max_size=4, unique=True), st.data())
def test_reads_what_was_written(tmp_path_factory, class_names, data):
    n = data.draw(st.integers(1, 6))
    ids = data.draw(st.lists(names, min_size=n, max_size=n, unique=True))
    y_true = np.array(data.draw(st.lists(st.integers(-1, len(class_names) - 1), min_size=n, max_size=n)))
    y_prob = np.random.default_rng(n).dirichlet(np.ones(len(class_names)), n)
    groups = data.draw(st.none() | st.just(tuple(ids)))
    written = Predictions(tuple(ids), y_true, y_prob, tuple(class_names), groups)
    path = tmp_path_factory.mktemp("table") / "predictions.csv"
    write_predictions(path, written)
    read = read_predictions(path)
    assert (read.sample_ids, read.class_names, read.groups) == (
        written.sample_ids,
        written.class_names,
        written.groups,
    )
    assert (read.y_true == y_true).all()
    assert (read.y_prob == y_prob).all()


def test_names_that_are_not_utf8_survive(tmp_path):
    odd = b"caf\xe9.jpg".decode("utf-8", errors="surrogateescape")
    written = Predictions((odd,), np.array([0]), np.array([[1.0, 0.0]]), ("a", "b"))
    write_predictions(tmp_path / "p.csv", written)
    assert b"caf\xe9.jpg" in (tmp_path / "p.csv").read_bytes()
    assert read_predictions(tmp_path / "p.csv").sample_ids == (odd,)


def test_replaces_the_old_file_and_leaves_nothing_else(tmp_path):
    (tmp_path / "p.csv").write_text("old", encoding="utf-8")
    write_predictions(tmp_path / "p.csv", two_images())
    assert [file.name for file in tmp_path.iterdir()] == ["p.csv"]
    assert len(read_predictions(tmp_path / "p.csv")) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns none"),
        ("path,label\na,b\n", "prob_<class>"),
        ("path,label,prob_a\nx.jpg,z,1\n", "label 'z'"),
        ("path,label,prob_a,prob_b\nx.jpg,a,much,0\n", "line 2"),
        ("path,label,prob_a,prob_b\nx.jpg,a,1\n", "line 2"),
        ("path,label,prob_a,prob_b\nx.jpg,a,0.9,0.9\n", "sum to 1"),
    ],
)
def test_unusable_tables_are_refused(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path / "p.csv")


def test_missing_table(tmp_path):
    with pytest.raises(DataError, match=r"predictions\.csv of a run"):
        read_predictions(tmp_path / "p.csv")
