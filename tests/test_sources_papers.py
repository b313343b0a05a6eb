"""The papers of a collection: its manifest, its card, and who is to be named under which licence."""

import csv
from pathlib import Path

import pytest

from arrivals import REQUEST, arrival, put
from tellapart.data.dataset import Dataset
from tellapart.errors import DataError
from tellapart.sources import collection as collections
from tellapart.sources import papers
from tellapart.sources.candidate import Candidate
from tellapart.sources.collection import Collection

NAMED = {
    "licence": "CC-BY",
    "licence_url": "https://creativecommons.org/licenses/by/4.0/",
    "attribution": "Zoë",
}


@pytest.fixture
def written(download_folder) -> tuple[Path, papers.Summary]:
    """A collection of five images with its papers, and what they sum up to."""
    with Collection(download_folder, REQUEST) as collection:
        put(
            collection,
            arrival("a1", group="p1", metadata={"age": "45", "sex": "female", "site": "Trunk"}, **NAMED),
            arrival("a2", group="p1", metadata={"age": "50", "melanocytic": "true"}, **NAMED),
            arrival("b1", "bee", group="p2", licence="CC-BY-NC", attribution="A, B\nand C"),
            arrival("b2", "bee", licence="CC-0", metadata={"split": "odd", "label": "theirs"}),
            arrival("c1", "cat | dog"),
        )
        collection.note_refusal(Candidate("a9", "https://a.example/", "ant"), "answered 404")
        summary = collection.write_papers(
            "Insects",
            "tellapart fetch isic out --seed 0",
            source="From a meadow.",
            licence_texts={"CC-BY": "You may."},
        )
    return download_folder, summary


def test_the_manifest_is_a_dataset(written):
    out, _summary = written
    dataset = Dataset.from_manifest(out / "manifest.csv")
    assert dataset.class_names == ("ant", "bee", "cat | dog")
    assert [(s.id, s.label, s.group, s.split) for s in dataset.samples] == [
        ("ant/a1.png", "ant", "p1", None),
        ("ant/a2.png", "ant", "p1", None),
        ("bee/b1.png", "bee", "p2", None),
        ("bee/b2.png", "bee", None, None),
        ("cat | dog/c1.png", "cat | dog", None, None),
    ]
    assert dataset.ledger == ()
    first = dataset.samples[0].metadata
    wanted = {
        "id": "a1",
        "age": "45",
        "sex": "female",
        "site": "Trunk",
        "licence": "CC-BY",
        "attribution": "Zoë",
    }
    assert wanted.items() <= first.items()
    assert first["url"] == "https://a.example/a1.png"
    assert (first["sha256"], first["source_sha256"]) == ("a1-here", "a1-there")
    assert dataset.samples[3].metadata["source_split"] == "odd"
    assert dataset.samples[3].metadata["source_label"] == "theirs"


def test_columns_of_the_manifest(written):
    out, _summary = written
    with (out / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == (*papers.LEADING_COLUMNS, "melanocytic", "source_label", "source_split")
    assert rows[2]["attribution"] == "A, B and C"
    assert [row["melanocytic"] for row in rows] == ["", "true", "", "", ""]


def test_the_summary_counts_and_warns(written):
    _out, summary = written
    assert summary.counts == {"ant": 2, "bee": 2, "cat | dog": 1}
    assert summary.licences == {"CC-BY": 2, "CC-BY-NC": 1, "CC-0": 1, "unknown": 1}
    assert summary.refused == {"a9": "answered 404"}
    non_commercial, unknown = summary.warnings
    assert non_commercial.startswith("1 of 5 images may not be used commercially")
    assert unknown.startswith("1 of 5 images came without a licence")


@pytest.mark.parametrize(
    ("licence", "warns"),
    [("CC-BY-NC", True), ("by-nc-sa", True), ("CC BY-NC 4.0", True), ("CC-BY", False), ("CC0", False)],
)
def test_licences_that_forbid_commerce_are_known_by_name(licence, warns):
    summary = papers.summarise([arrival(licence=licence)], {})
    assert any("commercially" in warning for warning in summary.warnings) == warns


def test_attributions(written):
    out, _summary = written
    assert (out / "attribution.txt").read_text("utf-8") == (
        "CC-0\n  no name given (1 image)\n\n"
        "CC-BY https://creativecommons.org/licenses/by/4.0/\n  Zoë (2 images)\n\n"
        "CC-BY-NC\n  A, B and C (1 image)\n\n"
        "unknown\n  no name given (1 image)\n"
    )


def test_licence_texts(written):
    out, _summary = written
    texts = {path.name: path.read_text("utf-8") for path in (out / "licences").iterdir()}
    assert texts == {
        "CC-0.txt": "CC-0\nThe source named no address of its text.\n",
        "CC-BY.txt": "You may.",
        "CC-BY-NC.txt": "CC-BY-NC\nThe source named no address of its text.\n",
    }


def test_a_licence_with_an_odd_name_stays_in_its_folder():
    found = papers.licences([arrival(licence="../../etc/passwd"), arrival(licence="CC BY 4.0")], {})
    assert list(found) == ["licences/etc-passwd.txt", "licences/CC-BY-4.0.txt"]


def test_the_dataset_card(written):
    out, _summary = written
    card = (out / "README.md").read_text("utf-8")
    for text in (
        "# Insects\n\nFrom a meadow.\n",
        "tellapart fetch isic out --seed 0",
        "| ant | 2 |",
        "| cat \\| dog | 1 |",
        "5 images of 2 groups",
        "1 more were offered and could not be used.",
        "| query | sex:female |",
        "| CC-BY-NC | 1 |",
        "- 1 of 5 images may not be used commercially",
        "tellapart train manifest.csv --out run",
    ):
        assert text in card


def test_an_empty_collection_has_no_papers(download_folder):
    with Collection(download_folder, REQUEST) as collection:
        summary = collection.write_papers("Nothing", "tellapart fetch")
    assert summary.counts == {}
    assert [path.name for path in download_folder.iterdir()] == [".tellapart"]


def test_papers_on_a_full_disk_are_one_line(download_folder, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(collections, "write_atomically", full)
    with Collection(download_folder, REQUEST) as collection:
        put(collection, arrival())
        with pytest.raises(
            DataError, match=r"cannot write .*manifest\.csv: no space left on device; make room"
        ):
            collection.write_papers("Insects", "tellapart fetch")
