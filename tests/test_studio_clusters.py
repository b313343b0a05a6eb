"""Duplicates: what makes figures wrong first, one batch per cluster, and a split that parts no copies."""

import csv

import pytest
from PIL import Image

from desks import ask, copies, desk_on
from pictures import write_class_folders
from tellapart.audit.check import check
from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError, LabelConflict
from tellapart.training.partition import apply_split, straddling


@pytest.fixture
def data(tmp_path):
    """A given split with a leak: a cat in training is in the test set too, turned; and a dog called a cat."""
    root = tmp_path / "data"
    for seed, part in enumerate(("train", "test")):
        write_class_folders(root / part, {"cat": 6, "dog": 6}, seed=seed)
    turned = Image.open(root / "train" / "cat" / "000.png").rotate(180)
    turned.save(root / "test" / "cat" / "copy.png")
    Image.open(root / "train" / "dog" / "001.png").rotate(180).save(root / "train" / "cat" / "dog.png")
    for name in ("copy", "copy2"):
        Image.open(root / "train" / "dog" / "002.png").rotate(180).save(
            root / "train" / "dog" / f"{name}.png"
        )
    return root


@pytest.fixture
def desk(data, tmp_path):
    """With what the check finds: a conflict, a leak, and three dogs that are alike."""
    desk = desk_on(data, runs=tmp_path / "runs")
    desk.catalog.attach_findings(check(Dataset.load(data)).findings)
    return desk


def ids(cluster):
    return [item["id"] for item in cluster["images"]]


def of_kind(desk, kind, **more):
    return ask(desk, "clusters", kind=kind, all=True, **more)["clusters"][0]


def decide(desk, cluster, action, **more):
    field = "label" if action == "label" else "excluded"
    seen = [
        item["label"] if field == "label" else "yes" if item["excluded"] else "" for item in cluster["images"]
    ]
    images = [item["i"] for item in cluster["images"]]
    return ask(desk, "resolve", images=images, action=action, seen=seen, **more)


def test_conflicts_and_leaks_come_first(desk):
    told = ask(desk, "clusters")
    assert [cluster["kinds"][0] for cluster in told["clusters"]] == [
        "conflicting labels",
        "leak",
        "near-duplicates",
    ]
    conflict, leak, alike = told["clusters"]
    assert ids(conflict) == ["train/cat/dog.png", "train/dog/001.png"]
    assert {item["side"] for item in leak["images"]} == {"train", "test"}
    assert len(alike["images"]) == 3
    assert alike["pairs"][0][2] > 0.9
    assert (told["total"], told["open"]) == (3, 3)


def test_one_label_for_all_settles_a_conflict(desk, data):
    told = decide(desk, of_kind(desk, "conflicting labels"), "label", label="dog")
    assert len(desk.journal.events(batch=told["batch"])) == 1  # the dog is one already
    assert of_kind(desk, "conflicting labels")["state"] == "settled"
    assert ask(desk, "clusters")["open"] == 2
    ask(desk, "undo")
    assert of_kind(desk, "conflicting labels")["state"] == "open"


def test_keeping_one_excludes_the_others_in_one_batch(desk, data):
    alike = of_kind(desk, "near-duplicates")
    kept = alike["images"][1]
    decide(desk, alike, "keep", keep=kept["i"], why="the sharpest")
    left = {sample.id for sample in Dataset.load(data).samples} & set(ids(alike))
    assert left == {kept["id"]}
    assert of_kind(desk, "near-duplicates")["state"] == "settled"
    again = of_kind(desk, "near-duplicates")
    decide(desk, again, "keep", keep=again["images"][0]["i"])  # another one after all
    left = {sample.id for sample in Dataset.load(data).samples} & set(ids(alike))
    assert left == {alike["images"][0]["id"]}


def test_what_is_left_as_it_is_stays_away_until_that_is_undone(desk, data, tmp_path):
    told = decide(desk, of_kind(desk, "near-duplicates"), "leave", why="not duplicates")
    [event] = desk.journal.events(batch=told["batch"])
    assert (event.field, event.new, event.why) == ("review", "left as it is", "not duplicates")
    assert (of_kind(desk, "near-duplicates")["state"], ask(desk, "clusters")["open"]) == ("left", 2)
    assert of_kind(desk, "near-duplicates")["left_by"] == ["anna"]
    assert Dataset.load(data).corrections.stale == ()  # it is no correction of any image
    ask(desk, "undo")
    assert of_kind(desk, "near-duplicates")["state"] == "open"


def test_a_cluster_that_somebody_else_decided_on_meanwhile_is_a_conflict(desk, data):
    cluster = of_kind(desk, "conflicting labels")
    dog = cluster["images"][1]
    ask(desk_on(data, actor="ben"), "write", items=[dog["i"]], field="label", seen=["dog"], new="cat")
    with pytest.raises(LabelConflict, match="label is cat"):
        decide(desk, cluster, "label", label="dog")


def test_images_that_are_no_cluster_are_refused(desk):
    with pytest.raises(ConfigError, match="no cluster of the last check"):
        ask(desk, "resolve", images=[0, 1, 2], action="keep", keep=0, seen=["", "", ""])
    alike = of_kind(desk, "near-duplicates")
    with pytest.raises(ConfigError, match="which is to be kept, is not in the cluster"):
        decide(desk, alike, "keep", keep=0)


def test_the_split_made_anew_has_no_leak_and_follows_the_corrections(desk, data, tmp_path):
    decide(desk, of_kind(desk, "conflicting labels"), "label", label="dog")
    ask(desk, "write", items=[0], field="excluded", seen=[""], new="yes")
    told = ask(desk, "split", seed=3)
    assert told["path"] == str(tmp_path / "runs" / "split.csv")
    assert told["n_joined"] == {"near-duplicate": 1}
    assert told["joined"]["near-duplicate"] == [["test/cat/copy.png", "train/cat/000.png"]]
    assert (told["leaks"], told["n_excluded"]) == ([], 1)
    with (tmp_path / "runs" / "split.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert rows["test/cat/copy.png"]["split"] == rows["train/cat/000.png"]["split"]
    assert rows["train/cat/dog.png"]["label"] == "dog"
    assert len(rows) == len(desk.given) - 1

    # What `tellapart train --split` reads has no leak, and the cluster is no longer open.
    dealt = apply_split(Dataset.load(data), tmp_path / "runs" / "split.csv").with_near_duplicates()
    assert straddling([dealt.where_split(part) for part in ("train", "test")]) == {}
    assert of_kind(desk, "leak")["state"] == "settled"


def test_the_parts_keep_the_sizes_of_the_given_split(desk):
    sizes = {row["split"]: row["images"] for row in ask(desk, "split")["rows"]}
    assert abs(sizes["test"] - 13) <= 2  # of 28, as 13 were given


def test_folds_can_be_dealt_instead(desk, tmp_path):
    told = ask(desk, "split", folds=3, name="three.csv")
    assert [row["split"] for row in told["rows"]] == ["fold 1", "fold 2", "fold 3"]
    assert told["leaks"] == []
    assert (tmp_path / "runs" / "three.csv").is_file()
    assert of_kind(desk, "leak", split="three.csv")["state"] == "settled"
    assert of_kind(desk, "leak")["state"] == "open"


@pytest.mark.parametrize("name", ["../split.csv", "/etc/split.csv", "split.txt", ".csv"])
def test_a_split_goes_nowhere_but_among_the_runs(desk, name):
    with pytest.raises(ConfigError, match="is no name for a split"):
        ask(desk, "split", name=name)


def test_a_cluster_told_under_two_kinds_is_one(data):
    desk = desk_on(data)
    pair = ("train/cat/000.png", "test/dog/000.png")
    desk.catalog.attach_findings([copies("conflicting labels", *pair), copies("leak", *pair)])
    [cluster] = ask(desk, "clusters")["clusters"]
    assert cluster["kinds"] == ("conflicting labels", "leak")
    assert cluster["now"] == ["conflicting labels", "leak"]


def test_without_a_check_there_are_no_clusters(data):
    told = ask(desk_on(data), "clusters")
    assert (told["total"], told["clusters"]) == (0, [])
