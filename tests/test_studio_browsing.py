"""What the grid asks: overview, items, facets, positions and all about one image."""

import csv

import pytest

from pictures import solid, write_class_folders
from tellapart.data.corrections import as_given
from tellapart.data.journal import Journal, journal_path
from tellapart.errors import ConfigError, StaleList
from tellapart.studio.desk import Desk
from tellapart.studio.operations import perform
from tellapart.studio.query import FACETS


@pytest.fixture
def folder(tmp_path):
    """Three benign, numbers 0 to 2, and two malignant."""
    return write_class_folders(tmp_path / "photos", {"benign": 3, "malignant": 2})


@pytest.fixture
def desk(folder, fresh_cache):
    return desk_of(folder)


def desk_of(data, **options):
    runs = data.parent / "runs"
    return Desk(data, as_given(data), Journal(journal_path(data)), "ada", **{"runs": runs, **options})


def relabel(desk, i, new):
    old = desk.catalog.label(i)
    return perform(
        desk, "write", {"items": [i], "field": "label", "seen": [old], "new": new, "source": "key"}
    )


def numbers(answer):
    return [item["i"] for item in answer["items"]]


def stamp(desk, **query):
    """That of the list which a grid shows."""
    return perform(desk, "items", query)["list"]


def test_overview(desk, folder):
    told = perform(desk, "overview", {})
    assert (told["n"], told["class_names"], told["actor"]) == (5, ["benign", "malignant"], "ada")
    assert told["counts"] == {"benign": 3, "malignant": 2}
    assert told["data"] == str(folder)
    assert (told["run"], told["has_predictions"], told["has_findings"], told["version"]) == (
        None,
        False,
        False,
        0,
    )
    assert "grid" in told["views"]
    assert told["keys"]["accept"] == ("a", "Accept the suggestion", "A")
    assert told["facets"] == FACETS
    assert told["training"]["defaults"]["backbone"] in told["training"]["backbones"]


def test_a_new_class_comes_last_so_that_the_keys_of_the_others_stay(desk):
    relabel(desk, 0, "a new one")
    assert perform(desk, "overview", {})["class_names"] == ["benign", "malignant", "a new one"]


def test_items_by_the_page(desk):
    told = perform(desk, "items", {"start": 1, "count": 2})
    assert (numbers(told), told["total"]) == ([1, 2], 5)
    assert told["items"][0]["id"] == "benign/001.png"
    assert numbers(perform(desk, "items", {"start": 4, "count": 9})) == [4]
    assert numbers(perform(desk, "items", {"start": 9})) == []


def test_a_list_goes_on_as_it_was_and_shows_labels_as_they_are(desk):
    first = perform(desk, "items", {"label": "benign", "count": 1})
    relabel(desk, 1, "malignant")
    rest = perform(desk, "items", {"label": "benign", "start": 1, "list": first["list"]})
    assert [(item["i"], item["label"]) for item in rest["items"]] == [(1, "malignant"), (2, "benign")]
    assert rest["version"] == 1
    anew = perform(desk, "items", {"label": "benign"})
    assert (numbers(anew), anew["list"] == first["list"]) == ([0, 2], False)


def test_an_image_is_found_in_a_list(desk):
    assert perform(desk, "items", {"label": "malignant", "find": 4})["position"] == 1
    assert perform(desk, "items", {"label": "malignant", "find": 0})["position"] is None
    assert perform(desk, "items", {})["position"] is None


def test_facets(desk):
    told = perform(desk, "facets", {"label": ["malignant"]})
    assert told["counts"]["label"] == {"benign": 3, "malignant": 2}
    (classes,) = told["groups"]  # nothing else tells these images apart
    assert (classes["key"], classes["title"]) == ("label", "Class")
    assert classes["rows"] == [
        ("label", "benign", "benign", 3, False),
        ("label", "malignant", "malignant", 2, True),
    ]


def test_decisions_are_listed_once_there_are_any(desk):
    relabel(desk, 0, "malignant")
    groups = {group["key"]: group for group in perform(desk, "facets", {})["groups"]}
    assert [row[:2] for row in groups["given"]["rows"]] == [("given", "benign"), ("given", "malignant")]
    assert groups["by"]["rows"] == [("by", "ada", "ada", 1, False)]
    assert groups["marks"]["title"] == "Decisions"
    assert groups["marks"]["rows"] == [("changed", "yes", "Label changed", 1, False)]


def test_positions_tell_what_a_bulk_change_sees(desk):
    relabel(desk, 1, "malignant")
    told = perform(desk, "positions", {"first": 1, "last": 3, "list": stamp(desk)})
    assert told["items"] == [1, 2, 3]
    assert told["label"] == ["malignant", "benign", "malignant"]
    assert (told["excluded"], told["flagged"]) == ([], [])
    benign = {"label": "benign"}
    assert perform(desk, "positions", {**benign, "list": stamp(desk, **benign)})["items"] == [0, 2]


def test_places_are_those_of_the_list_that_was_shown_however_much_is_relabelled_and_counted(desk):
    benign = {"label": "benign"}
    shown = stamp(desk, **benign)
    for k in range(8):
        relabel(desk, 0, ("malignant", "benign")[k % 2])
        relabel(desk, 1, "malignant")
        perform(desk, "queue", {})
        perform(desk, "clusters", {})
        relabel(desk, 1, "benign")
    relabel(desk, 0, "malignant")
    assert numbers(perform(desk, "items", benign)) == [1, 2]
    assert perform(desk, "positions", {**benign, "list": shown, "first": 1})["items"] == [1, 2]


def test_places_in_a_list_that_is_not_known_are_refused(desk):
    with pytest.raises(StaleList, match="load it again"):
        perform(desk, "positions", {"list": "of another studio"})
    with pytest.raises(StaleList):
        perform(desk, "positions", {"label": "benign", "list": stamp(desk)})
    with pytest.raises(ConfigError, match="'list' is missing"):
        perform(desk, "positions", {})


def test_all_about_one_image(desk, folder):
    relabel(desk, 0, "malignant")
    told = perform(desk, "item", {"i": 0})
    assert told["path"] == str(folder / "benign" / "000.png")
    assert {key: told["file"][key] for key in ("width", "height", "format", "problem")} == {
        "width": 48,
        "height": 40,
        "format": "PNG",
        "problem": None,
    }
    assert [(e["actor"], e["old"], e["new"]) for e in told["history"]] == [("ada", "benign", "malignant")]
    assert (told["probabilities"], told["findings"]) == (None, [])


def test_a_phones_picture_is_told_upright(folder, fresh_cache):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    solid("blue", (60, 30)).save(folder / "benign" / "000.jpg", exif=exif)
    told = perform(desk_of(folder), "item", {"i": 0})["file"]
    assert (told["width"], told["height"]) == (30, 60)


def test_a_broken_file_is_told(folder, fresh_cache):
    (folder / "benign" / "000.jpg").write_bytes(b"nothing")
    told = perform(desk_of(folder), "item", {"i": 0})["file"]
    assert "not an image" in told["problem"]
    (folder / "benign" / "000.jpg").unlink()
    (folder / "benign" / "000.jpg").symlink_to(folder / "benign" / "001.png")
    desk = desk_of(folder)
    (folder / "benign" / "000.jpg").unlink()
    assert perform(desk, "item", {"i": 0})["file"]["problem"] == "no such file"


def test_metadata_and_groups_of_a_manifest(tmp_path, folder, fresh_cache):
    with (tmp_path / "list.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split", "group", "age"])
        rows.writerow(["photos/benign/000.png", "benign", "train", "p1", "61"])
        rows.writerow(["photos/malignant/000.png", "malignant", "test", "p2", "70"])
    desk = desk_of(tmp_path / "list.csv")
    told = perform(desk, "item", {"i": 1})
    assert (told["split"], told["group"], told["metadata"]) == ("test", "p2", {"age": "70"})
    assert perform(desk, "overview", {})["splits"] == ["test", "train"]
    assert numbers(perform(desk, "items", {"split": "train"})) == [0]


def test_a_runs_predictions(trained, photos, fresh_cache):
    desk = desk_of(photos, runs=trained.folder.parent, run=trained.folder)
    desk.arrivals.first_run()
    assert perform(desk, "overview", {})["run"] == trained.folder.name
    right = perform(desk, "items", {"correct": "right"})
    item = perform(desk, "item", {"i": right["items"][0]["i"], "run": trained.folder.name})
    assert item["predicted"] == item["label"]
    assert sum(item["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert item["probabilities_by"] == trained.folder.name


def test_a_run_is_laid_beside_when_an_address_names_it(trained, photos, fresh_cache):
    desk = desk_of(photos, runs=trained.folder.parent)
    name = trained.folder.name
    assert perform(desk, "items", {"correct": "right"})["total"] == 0
    assert perform(desk, "items", {"correct": "right", "run": name})["total"] > 0
    with pytest.raises(ConfigError, match="no run is called"):
        perform(desk, "items", {"run": "../elsewhere"})


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("item", {}, "'i' is missing"),
        ("item", {"i": 5}, "from 0 to 4"),
        ("item", {"i": -1}, "from 0 to 4"),
        ("items", {"count": 501}, "from 1 to 500"),
        ("items", {"sort": "none"}, "one of name"),
        ("facets", {"correct": "perhaps"}, "wrong or right"),
    ],
)
def test_what_cannot_be_asked_is_refused(desk, name, values, told):
    with pytest.raises(ConfigError, match=told):
        perform(desk, name, values)
