"""Duplicates: what makes figures wrong first, and one batch per cluster."""

import pytest

from desks import ask, copies, desk_on, draw_doubles
from tellapart.audit.check import check
from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError, LabelConflict


@pytest.fixture
def data(tmp_path):
    return draw_doubles(tmp_path / "data")


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
    assert of_kind(desk, "near-duplicates")["decided"] == "left as it is by anna"
    assert Dataset.load(data).corrections.stale == ()  # it is no correction of any image
    ask(desk, "undo")
    assert of_kind(desk, "near-duplicates")["state"] == "open"


def test_a_cluster_that_somebody_else_decided_on_meanwhile_is_a_conflict(desk, data):
    cluster = of_kind(desk, "conflicting labels")
    dog = cluster["images"][1]
    ask(desk_on(data, actor="ben"), "write", items=[dog["i"]], field="label", seen=["dog"], new="cat")
    with pytest.raises(LabelConflict, match="label is cat"):
        decide(desk, cluster, "label", label="dog")


def test_all_clusters_can_be_had_some_at_a_time(desk):
    every = ask(desk, "clusters")
    pages = [ask(desk, "clusters", start=start, count=1) for start in range(every["total"])]
    assert [page["total"] for page in pages] == [3, 3, 3]
    assert [page["clusters"][0]["images"] for page in pages] == [one["images"] for one in every["clusters"]]
    assert ask(desk, "clusters", start=3)["clusters"] == []


def test_images_that_are_no_cluster_are_refused(desk):
    with pytest.raises(ConfigError, match="no cluster of the last check"):
        ask(desk, "resolve", images=[0, 1, 2], action="keep", keep=0, seen=["", "", ""])
    alike = of_kind(desk, "near-duplicates")
    with pytest.raises(ConfigError, match="which is to be kept, is not in the cluster"):
        decide(desk, alike, "keep", keep=0)


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
