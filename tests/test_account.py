"""What report and run.json say of data and split: numbers that add up, and claims that are true."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from made_up import made_up
from pictures import solid, write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.data.duplicates import NearPair
from tellapart.records import Predictions, Skipped
from tellapart.training import account
from tellapart.training.config import TrainConfig
from tellapart.training.features import Features
from tellapart.training.fitted import Choices
from tellapart.training.partition import FOLD, Partition, folds

CONFIG = TrainConfig()


def part_pair(*, groups=(("p", "q"), ("r", "s")), contents=(("1", "2"), ("3", "4")), metadata=(None, None)):
    train, test = (
        made_up("ab", groups=g, contents=c, metadata=m)
        for g, c, m in zip(groups, contents, metadata, strict=True)
    )
    return Dataset((*train.samples, *test.samples), ("a", "b")), [Partition(train, None, test)]


def test_the_flow_adds_up_from_received_to_parts():
    dataset = made_up("aaabbbb")
    received = Dataset(dataset.samples, ("a", "b"), (Skipped("x.txt", "not an image"),))
    used = received.without({"a/000": "empty file"})
    one = Partition(used.subset(range(4)), None, used.subset([4, 5]))
    steps = account.flow(received, used, [one])
    assert steps == [
        ("files found", 8),
        ("not usable (listed below)", -2),
        ("used", 6),
        ("training", 4),
        ("test", 2),
    ]
    assert ("not usable (listed below)", 0) not in account.flow(dataset, dataset, [one])


def test_the_flow_of_a_k_fold_ends_in_its_folds():
    dataset = made_up("aaaabbbb")
    steps = account.flow(dataset, dataset, folds(dataset, TrainConfig(folds=2), needs_val=False))
    assert steps[-2:] == [("fold 1", 4), ("fold 2", 4)]


def test_rows_count_images_groups_and_classes():
    _, partitions = part_pair(groups=(("p", "p"), ("r", "s")))
    assert account.partition_rows(partitions) == [
        {"split": "training", "images": 2, "groups": 1, "a": 1, "b": 1},
        {"split": "test", "images": 2, "groups": 2, "a": 1, "b": 1},
    ]


@pytest.mark.parametrize(
    ("options", "claim", "found"),
    [
        ({}, "lesion and file content", []),
        ({"groups": ((None, None),) * 2}, "file content", []),
        ({"groups": (("p", "q"), ("q", "s"))}, "file content", ["1 × group on two sides"]),
        (
            {"contents": (("1", "2"), ("2", "4"))},
            "lesion",
            ["1 × identical file on two sides", "1 × identical files with different labels"],
        ),
        (
            {"groups": (("p", "q"), ("p", "q")), "contents": (("1", "2"), ("1", "2"))},
            "",
            ["2 × group on two sides", "2 × identical file on two sides"],
        ),
    ],
)
def test_what_is_disjoint_is_claimed_and_what_leaks_is_told(options, claim, found):
    dataset, partitions = part_pair(**options)
    assert account.disjoint_by(dataset, TrainConfig(group_by="lesion"), partitions) == claim
    said = account.findings(dataset, partitions, CONFIG)
    for fragment in found:
        assert any(line.startswith(fragment) for line in said), fragment
    assert bool(said) == bool(found)
    assert not any("stay on one side" in line for line in said)


def test_copies_that_stay_on_one_side_are_only_counted():
    train, test = made_up("aab", contents=["1", "1", "2"]), made_up("ab", contents=["3", "4"])
    dataset = Dataset((*train.samples, *test.samples), ("a", "b"))
    said = account.findings(dataset, [Partition(train, None, test)], CONFIG)
    assert said == ["1 files are byte-for-byte copies of another; copies stay on one side"]


def test_near_duplicates_are_counted_with_an_example_and_a_conflict_comes_first():
    samples = made_up("aabb" * 3).samples
    near = (NearPair(samples[0].id, samples[1].id, 0.97), NearPair(samples[1].id, samples[2].id, 0.96))
    dataset = Dataset(samples, ("a", "b"), near=near)
    partitions = folds(dataset, TrainConfig(folds=2), needs_val=False)
    conflict, count = account.findings(dataset, partitions, TrainConfig(folds=2))
    assert conflict == "1 × near-duplicates with different labels: a/001 = b/002"
    assert count.startswith(
        "3 images are near-duplicates of another, in 1 cluster, for example a/000 = a/001"
    )
    assert "; each cluster stays on one side" in count
    assert account.disjoint_by(dataset, CONFIG, partitions) == "file content and near-duplicates"
    off = TrainConfig(near_duplicates=False)
    assert account.disjoint_by(dataset, off, partitions) == "file content"


def test_it_is_told_that_near_duplicates_were_looked_for_by_pictures_alone():
    dataset = replace(made_up("aabb" * 3), near=(), near_alone="no torch here")
    said = account.findings(dataset, folds(dataset, TrainConfig(folds=2), needs_val=False), CONFIG)
    assert said == ["near-duplicates were looked for by pictures alone: no torch here"]
    assert account.near_method(dataset, CONFIG) == "by pictures alone: no torch here"
    assert account.near_method(replace(dataset, near_alone=""), CONFIG).endswith("of the default network")
    assert account.near_method(dataset, TrainConfig(near_duplicates=False)) == "not looked for"


def test_near_duplicates_that_leak_are_told_as_a_leak():
    train, test = made_up("aab").subset([0, 2]), made_up("aab").subset([1])
    near = (NearPair("a/000", "a/001", 0.97),)
    dataset = Dataset(made_up("aab").samples, ("a", "b"), near=near)
    partitions = [Partition(replace(train, near=near), None, replace(test, near=near))]
    said = account.findings(dataset, partitions, CONFIG)
    assert said[0].startswith("1 × near-duplicate on two sides of the split, for example a/000 = a/001")
    assert "stays on one side" not in " ".join(said)


def test_leaks_between_any_two_given_folds_are_found():
    contents = ["1", "2", "3", "9", "4", "5", "6", "9", "7"]
    fold_of = "112233132"  # the two copies lie in folds 2 and 3
    dataset = made_up("aaaaabbbb", contents=contents, metadata=[{FOLD: fold} for fold in fold_of])
    partitions = folds(dataset, TrainConfig(folds=3), needs_val=False)
    assert account.disjoint_by(dataset, CONFIG, partitions) == ""
    assert account.findings(dataset, partitions, CONFIG)[0].startswith("1 × identical file on two sides")


def test_metadata_of_people_are_counted_and_ages_banded():
    ages = ["5", "39.5", "40", "nan", "", "old"]
    metadata = [
        {"age": age, "image_type": str(i % 2), "site": f"site {i}", FOLD: "1"}
        for i, age in enumerate(ages * 3)
    ]
    dataset = made_up("a" * 18, metadata=metadata)
    table = account.demographics([Partition(dataset, None, None)])
    assert table == {
        "age": {
            "training": {"00–19": 3, "20–39": 3, "40–59": 3, "not given": 6, "old": 3},
        },
        "image_type": {"training": {"0": 9, "1": 9}},
    }


@pytest.mark.parametrize(
    ("column", "shown"),
    [("age", "40–59"), ("Age (years)", "40–59"), ("patient_age", "40–59"), ("stage", "41"), ("Dosage", "41")],
)
def test_only_ages_are_banded(column, shown):
    dataset = made_up("ab", metadata=[{column: "41"}, {column: ""}])
    table = account.demographics([Partition(dataset, None, None)])
    assert table == {column: {"training": {shown: 1, "not given": 1}}}


def test_a_k_folds_table_counts_each_fold():
    dataset = made_up("aaaabbbb", metadata=[{"sex": "fm"[i % 2]} for i in range(8)])
    table = account.demographics(folds(dataset, TrainConfig(folds=2), needs_val=False))
    assert set(table["sex"]) == {"fold 1", "fold 2"}
    assert sum(n for fold in table["sex"].values() for n in fold.values()) == 8


def test_the_record_of_a_run_is_json_with_everything_that_was_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset = made_up("aabb").without({"a/000": "empty file"})
    record = json.loads(
        json.dumps(account.run_record("done", "tellapart train", CONFIG, {"mode": "x"}, dataset))
    )
    assert record["data"] == {
        "root": str(Path(tmp_path).resolve()),
        "n_samples": 3,
        "counts": {"a": 1, "b": 2},
        "ledger": [{"path": "a/000", "reason": "empty file"}],
    }
    assert (record["status"], record["mode"], record["config"]["seed"]) == ("done", "x", 0)
    assert account.data_facts(dataset)["source"] == tmp_path.name


def test_the_check_of_the_images_is_in_the_report_of_a_run(photos, trained):
    report = (trained.folder / "evaluation" / "report.html").read_text(encoding="utf-8")
    told = account.check_rows(trained.dataset)
    for row in told:
        assert set(row) == {"severity", "kind", "message"}
        assert f"{row['severity']}, {row['kind']}:" in report
    assert "<code>tellapart check</code> also looks for" in report
    assert ("What a check of the images found" in report) == bool(told)


def test_a_black_picture_is_told(tmp_path):
    folder = write_class_folders(tmp_path / "data", {"a": 20, "b": 20})
    solid("black").save(folder / "a" / "black.png")
    assert "blank" in [row["kind"] for row in account.check_rows(Dataset.load(folder))]


class Doubtful:
    """What a run with features leaves: two colours, of which some were labelled wrongly or are foreign."""

    history, details = (), {}

    def __init__(self, dataset, seen):
        rng = np.random.default_rng(0)
        kind = np.array([sample.metadata["kind"] for sample in dataset.samples])
        centre = {"a": (9, 1, 1), "b": (1, 9, 1), "foreign": (-9, -9, 9)}
        rows = np.array([centre[k] for k in kind], np.float32) + rng.normal(0, 0.5, (len(kind), 3))
        digests = [sample.sha256 for sample in dataset.samples]
        self.features = Features(dict(zip(digests, rows.astype(np.float32), strict=True)), 0)
        is_b = (kind[seen] != "a").astype(float) * 0.9 + 0.05
        judged = dataset.subset(seen)
        ids = tuple(sample.id for sample in judged.samples)
        y_prob = np.stack([1 - is_b, is_b], axis=1)
        predictions = Predictions(ids, judged.targets, y_prob, dataset.class_names)
        self.choices = Choices(1.0, None, "out-of-fold", predictions)


@pytest.fixture
def doubted(tmp_path):
    """Sixty pictures, twenty of which are held out; among each part are wrong labels."""
    dataset = Dataset.load(write_class_folders(tmp_path / "data", {"a": 30, "b": 30})).with_hashes()
    kinds = [sample.label for sample in dataset.samples]
    for i in (0, 1, 2, 3, 4, 5, 6, 21, 22):
        kinds[i] = "b"
    kinds[40] = "foreign"
    samples = [replace(s, metadata={"kind": k}) for s, k in zip(dataset.samples, kinds, strict=True)]
    return replace(dataset, samples=tuple(samples), near=())


def test_labels_of_training_images_are_doubted_and_outliers_named(doubted):
    trained_on = [*range(20), *range(30, 50)]
    rows = account.check_rows(doubted, Doubtful(doubted, trained_on))
    suspects = [row["message"] for row in rows if row["kind"] == "suspected label"]
    assert len(suspects) == account.MOST_ROWS + 1
    assert suspects[-1] == "… and 2 more, which `tellapart check` lists"
    assert all("is labelled a and looks like b" in message for message in suspects[:-1])
    assert not any("a/021" in message or "a/022" in message for message in suspects)  # of the test set
    (foreign,) = (row["message"] for row in rows if row["kind"] == "outlier")
    assert foreign.startswith("1 image is like no other, first b/010")
    severities = [row["severity"] for row in rows]
    assert severities == sorted(severities, key=("error", "warning", "note").index)


def test_without_features_labels_are_not_judged(doubted):
    assert not {"suspected label", "outlier"} & {row["kind"] for row in account.check_rows(doubted)}
