"""Manifests: CSV, Parquet, DataFrames, and what can be wrong with them."""

import pandas as pd
import pytest

from pictures import write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.errors import EmptyDataset, ManifestError


@pytest.fixture
def folder(tmp_path):
    return write_class_folders(tmp_path, {"cat": 2, "dog": 2})


def rows_of(folder, **columns):
    paths = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))
    frame = pd.DataFrame({"path": paths, "label": [p.split("/")[0] for p in paths]})
    return frame.assign(**columns)


def test_csv_parquet_and_dataframe_agree(folder):
    frame = rows_of(folder, group=["p1", "p1", "p2", None], age=[45, 46, 50, 61], split="train")
    frame.to_csv(folder / "m.csv", index=False)
    frame.to_parquet(folder / "m.parquet")
    from_csv = Dataset.load(folder / "m.csv")
    assert from_csv == Dataset.load(folder / "m.parquet") == Dataset.from_dataframe(frame, folder)
    assert [s.group for s in from_csv.samples] == ["p1", "p1", "p2", None]
    assert [s.metadata["age"] for s in from_csv.samples] == ["45", "46", "50", "61"]
    assert {s.split for s in from_csv.samples} == {"train"}


def test_missing_cells_are_blank_and_whole_floats_lose_their_point(folder):
    frame = rows_of(folder, age=[45.0, None, 50.5, 61.0])
    assert [s.metadata["age"] for s in Dataset.from_dataframe(frame, folder).samples] == [
        "45",
        "",
        "50.5",
        "61",
    ]


def test_rows_without_a_split_train_where_others_test(folder):
    frame = rows_of(folder, split=["test", "", "", ""])
    dataset = Dataset.from_dataframe(frame, folder)
    assert [s.split for s in dataset.samples] == ["test", "train", "train", "train"]


def test_a_row_without_label_and_a_row_twice_are_in_the_ledger(folder):
    frame = rows_of(folder)
    frame.loc[0, "label"] = None
    frame = pd.concat([frame, frame.iloc[[3]]])
    dataset = Dataset.from_dataframe(frame, folder)
    assert len(dataset) == 3
    assert [entry.reason for entry in dataset.ledger] == ["no label", "listed twice"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.rename(columns={"label": "class"}), "no column 'label' .found: path, class."),
        (lambda f: f.assign(path="nowhere.png").iloc[:1], "names 1 files that do not exist"),
        (lambda f: f.assign(split="holdout"), "split 'holdout'; accepted: train"),
        (lambda f: f.assign(path=f.path.iloc[0]), "two labels: cat and dog"),
        (lambda f: f.iloc[:0], "has no rows"),
    ],
)
def test_what_is_wrong_is_said(folder, change, message):
    change(rows_of(folder)).to_csv(folder / "m.csv", index=False)
    with pytest.raises(ManifestError, match=message):
        Dataset.load(folder / "m.csv")


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_a_missing_or_binary_manifest(folder, name):
    with pytest.raises(ManifestError, match="no manifest at"):
        Dataset.load(folder / name)
    (folder / name).write_bytes(b"\xff\xfe\x00\x01" * 9)
    with pytest.raises(ManifestError, match="not a"):
        Dataset.load(folder / name)


def test_only_unlabelled_rows(folder):
    with pytest.raises(EmptyDataset):
        Dataset.from_dataframe(rows_of(folder).assign(label=""), folder)
