"""Dealing the images anew: no copy on two sides, the corrections in force, and a file to train with."""

import csv

import pytest

from desks import ask, desk_on, draw_doubles
from tellapart.audit.check import check
from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError
from tellapart.training.partition import apply_split, straddling


@pytest.fixture
def data(tmp_path):
    return draw_doubles(tmp_path / "data")


@pytest.fixture
def desk(data, tmp_path):
    desk = desk_on(data, runs=tmp_path / "runs")
    desk.catalog.attach_findings(check(Dataset.load(data)).findings)
    return desk


def leak(desk, **more):
    """The cluster that was on two sides."""
    return ask(desk, "clusters", kind="leak", all=True, **more)["clusters"][0]


def test_the_split_made_anew_has_no_leak_and_follows_the_corrections(desk, data, tmp_path):
    dog = desk.catalog.index("train/cat/dog.png")
    ask(desk, "write", items=[dog], field="label", seen=["cat"], new="dog")
    ask(desk, "write", items=[0], field="excluded", seen=[""], new="yes")
    told = ask(desk, "split", seed=3)
    assert told["path"] == str(tmp_path / "runs" / "split.csv")
    assert told["n_joined"] == {"near-duplicate": 1}
    assert told["joined"]["near-duplicate"] == [["test/cat/copy.png", "train/cat/000.png"]]
    assert (told["leaks"], told["n_excluded"]) == ([], 1)
    mended, together, last = told["facts"]
    example = "test/cat/copy.png = train/cat/000.png"
    assert mended == f"1 × near-duplicate lay on two sides, now on one; for example {example}"
    assert together.startswith(f"{told['kept_together']} images are copies of another")
    assert last == "No leak is left"
    with (tmp_path / "runs" / "split.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert rows["test/cat/copy.png"]["split"] == rows["train/cat/000.png"]["split"]
    assert rows["train/cat/dog.png"]["label"] == "dog"
    assert len(rows) == len(desk.given) - 1

    # What `tellapart train --split` reads has no leak, and the cluster is no longer open.
    dealt = apply_split(Dataset.load(data), tmp_path / "runs" / "split.csv").with_near_duplicates()
    assert straddling([dealt.where_split(part) for part in ("train", "test")]) == {}
    assert leak(desk)["state"] == "settled"


def test_the_parts_keep_the_sizes_of_the_given_split(desk):
    sizes = {row["split"]: row["images"] for row in ask(desk, "split")["rows"]}
    assert abs(sizes["test"] - 13) <= 2  # of 28, as 13 were given


def test_folds_can_be_dealt_instead(desk, tmp_path):
    told = ask(desk, "split", folds=3, name="three.csv")
    assert [row["split"] for row in told["rows"]] == ["fold 1", "fold 2", "fold 3"]
    assert told["leaks"] == []
    assert (tmp_path / "runs" / "three.csv").is_file()
    assert leak(desk, split="three.csv")["state"] == "settled"
    assert leak(desk)["state"] == "open"


@pytest.mark.parametrize("name", ["../split.csv", "/etc/split.csv", "split.txt", ".csv"])
def test_a_split_goes_nowhere_but_among_the_runs(desk, name):
    with pytest.raises(ConfigError, match="is no name for a split"):
        ask(desk, "split", name=name)
