"""A collection: its journal through crashes, and the papers that are written from it."""

import csv
import dataclasses
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pictures import encode, solid
from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError, DataError
from tellapart.sources import collection as collections
from tellapart.sources import papers
from tellapart.sources.arrival import Arrival
from tellapart.sources.candidate import Candidate
from tellapart.sources.collection import JOURNAL, Collection

REQUEST = {"query": "sex:female", "seed": "0"}
CONTENT = encode(solid("red"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def arrival(key: str = "a1", label: str = "ant", **options: object) -> Arrival:
    """An image that arrived; `options` are fields of the candidate or of the arrival."""
    fields = {field.name for field in dataclasses.fields(Arrival)}
    of_arrival = {name: options.pop(name) for name in list(options) if name in fields}
    candidate = Candidate(key, f"https://a.example/{key}.png", label, **options)
    defaults = {
        "candidate": candidate,
        "path": f"{label}/{key}.png",
        "sha256": f"{key}-here",
        "n_bytes": len(CONTENT),
        "size_px": (48, 40),
        "source_sha256": f"{key}-there",
        "source_bytes": 999,
        "etag": '"t"',
        "at": "2026-11-24T12:00:00+00:00",
    }
    return Arrival(**{**defaults, **of_arrival})


def put(collection: Collection, *arrivals: Arrival) -> None:
    """Note images and write their files, as a download does."""
    for one in arrivals:
        assert collection.note_arrival(one) is None
        path = collection.folder / one.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(CONTENT)


def journal(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / JOURNAL).read_text().splitlines()]


# ---------------------------------------------------------------------------------- the journal


def test_what_was_noted_is_there_after_opening_again(out):
    one = arrival(group="p1", licence="CC-BY", metadata={"age": "45", "who": "Zoë"}, size_px=(48, 40))
    with Collection(out, REQUEST) as collection:
        put(collection, one, arrival("b1", "bee"))
        collection.note_refusal(Candidate("a2", "https://a.example/", "ant"), "answered 404")
    with Collection(out, REQUEST) as collection:
        assert collection.arrived("ant") == {"a1": one}
        assert collection.arrived("bee").keys() == {"b1"}
        assert collection.arrived("wasp") == {}
        assert collection.refused("ant") == {"a2": "answered 404"}
        assert [a.path for a in collection.arrivals] == ["ant/a1.png", "bee/b1.png"]
    assert [event["event"] for event in journal(out)] == ["request", "arrived", "arrived", "refused"]


def test_an_image_without_its_file_counts_for_nothing(out):
    with Collection(out, REQUEST) as collection:
        put(collection, arrival("a1"), arrival("a2"), arrival("a3"))
    (out / "ant/a1.png").unlink()
    (out / "ant/a2.png").write_bytes(b"cut")
    with Collection(out, REQUEST) as collection:
        assert collection.arrived("ant").keys() == {"a3"}
        put(collection, arrival("a1"))  # the same bytes may come again under the same name
        assert collection.arrived("ant").keys() == {"a1", "a3"}


def test_equal_bytes_are_taken_once(out):
    with Collection(out, REQUEST) as collection:
        put(collection, arrival("a1", source_sha256="same"))
        assert collection.note_arrival(arrival("b1", "bee", source_sha256="same")) == "ant/a1.png"
        assert collection.arrived("bee") == {}
    with Collection(out, REQUEST) as collection:
        assert collection.note_arrival(arrival("b1", "bee", source_sha256="same")) == "ant/a1.png"


def test_a_line_that_was_cut_short_is_dropped_wherever_it_was_cut(out):
    with Collection(out, REQUEST) as collection:
        put(collection, arrival("a1"), arrival("a2"))
    whole = (out / JOURNAL).read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in (last + 1, last + 40, len(whole) - 1):
        (out / JOURNAL).write_bytes(whole[:end])
        with Collection(out, REQUEST) as collection:
            assert collection.arrived("ant").keys() == {"a1"}
            put(collection, arrival("a3"))
        with Collection(out, REQUEST) as collection:
            assert collection.arrived("ant").keys() == {"a1", "a3"}


def test_a_full_disk_leaves_no_half_line(out, monkeypatch):
    with Collection(out, REQUEST) as collection:
        put(collection, arrival("a1"))
        real = os.write
        monkeypatch.setattr(os, "write", lambda handle, line: real(handle, line[:20]))
        with pytest.raises(OSError, match="No space left"):
            collection.note_arrival(arrival("a2"))
        monkeypatch.setattr(os, "write", real)
        put(collection, arrival("a3"))
    assert [event["candidate"]["id"] for event in journal(out)[1:]] == ["a1", "a3"]


def test_a_closed_collection_takes_nothing_more(out):
    with Collection(out, REQUEST) as collection:
        put(collection, arrival("a1"))
    with (out / "other").open("w"), pytest.raises(OSError, match="Bad file"):
        collection.note_arrival(arrival("a2"))
    assert (out / "other").read_bytes() == b""
    assert len(journal(out)) == 2


def test_threads_do_not_mix_their_lines(out):
    with Collection(out, REQUEST) as collection:
        threads = [
            threading.Thread(target=lambda k=k: [put(collection, arrival(f"{k}-{i}")) for i in range(20)])
            for k in range(8)
        ]
        (out / "ant").mkdir()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(journal(out)) == 161
    with Collection(out, REQUEST) as collection:
        assert len(collection.arrived("ant")) == 160


def test_a_journal_survives_a_kill(out):
    script = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from test_sources_collection import *\n"
        "collection = Collection(Path(sys.argv[1]), REQUEST)\n"
        "put(collection, arrival('a1'), arrival('a2'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(out), str(Path(__file__).parent)], check=False)
    with Collection(out, REQUEST) as collection:
        assert collection.arrived("ant").keys() == {"a1", "a2"}


@pytest.mark.parametrize(
    "label", ["manifest.csv", "Manifest.CSV", "README.md", "attribution.txt", "licences"]
)
def test_a_class_may_be_called_as_one_of_the_papers(out, label):
    with Collection(out, REQUEST) as collection:
        folder = collection.class_folder(label)
        assert folder == out / f"{label}_"
        put(collection, arrival("a1", label=label, path=f"{folder.name}/a1.png"))
        collection.write_papers("title", "command", licence_texts={"CC-BY-4.0": "the text"})
    assert [sample.label for sample in Dataset.from_manifest(out / "manifest.csv").samples] == [label]


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=4), st.text(max_size=20))
def test_any_text_survives(tmp_path_factory, metadata, text):
    label = text or "ant"
    out = tmp_path_factory.mktemp("c") / "out"
    with Collection(out, REQUEST) as collection:
        path = (collection.class_folder(label) / "a1.png").relative_to(out).as_posix()
        one = arrival(label=label, path=path, metadata=metadata, attribution=text, group=text or None)
        put(collection, one)
        collection.write_papers(text, text, source=text, licence_texts={})
    with Collection(out, REQUEST) as collection:
        assert collection.arrived(label) == {"a1": one}
    if label.isprintable() and label.strip():
        assert len(Dataset.from_manifest(out / "manifest.csv")) == 1


# ------------------------------------------------------------------------------ which folder it may be


def test_another_request_needs_another_folder(out):
    Collection(out, REQUEST).close()
    with pytest.raises(ConfigError, match="begun with seed '0', now it is '1'; go on with the same options"):
        Collection(out, {**REQUEST, "seed": "1"})
    with pytest.raises(ConfigError, match="begun with licence '', now it is 'CC-0'"):
        Collection(out, {**REQUEST, "licence": "CC-0"})
    Collection(out, REQUEST).close()


def test_a_folder_of_something_else_is_left_alone(out):
    out.mkdir()
    Collection(out, REQUEST).close()  # an empty one is as good as none
    other = out.with_name("other")
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty, and was not filled by"):
        Collection(other, REQUEST)
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]
    with pytest.raises(ConfigError, match="is not a folder"):
        Collection(other / "thesis.txt", REQUEST)


def test_one_process_at_a_time(out):
    with (
        Collection(out, REQUEST),
        pytest.raises(ConfigError, match="another process is fetching into"),
    ):
        Collection(out, REQUEST)
    Collection(out, REQUEST).close()


@pytest.mark.parametrize(
    "line", ["no json", "[]", '{"event": "arrived"}', '{"event": "refused", "id": 3}', "\0\0"]
)
def test_a_damaged_line_is_named(out, line):
    Collection(out, REQUEST).close()
    with (out / JOURNAL).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match="damaged in line 2; delete that line"):
        Collection(out, REQUEST)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write to .*; give another folder"):
        Collection(tmp_path / "file" / "out", REQUEST)


def test_space_is_checked_before(out, monkeypatch):
    with Collection(out, REQUEST) as collection:
        collection.check_space(1000)
        monkeypatch.setattr(collections, "SPARE_BYTES", 10**18)
        with pytest.raises(
            DataError, match=r"the images need about 5 MB, and .* make room, or ask for fewer"
        ):
            collection.check_space(5_000_000)


# ------------------------------------------------------------------------------------------ papers

NAMED = {
    "licence": "CC-BY",
    "licence_url": "https://creativecommons.org/licenses/by/4.0/",
    "attribution": "Zoë",
}


@pytest.fixture
def written(out) -> tuple[Path, papers.Summary]:
    """A collection of five images with its papers, and what they sum up to."""
    with Collection(out, REQUEST) as collection:
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
    return out, summary


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


def test_an_empty_collection_has_no_papers(out):
    with Collection(out, REQUEST) as collection:
        summary = collection.write_papers("Nothing", "tellapart fetch")
    assert summary.counts == {}
    assert [path.name for path in out.iterdir()] == [".tellapart"]


def test_papers_on_a_full_disk_are_one_line(out, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(collections, "write_atomically", full)
    with Collection(out, REQUEST) as collection:
        put(collection, arrival())
        with pytest.raises(
            DataError, match=r"cannot write .*manifest\.csv: no space left on device; make room"
        ):
            collection.write_papers("Insects", "tellapart fetch")
