"""A collection: its journal through crashes, and which folder it may be."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrivals import REQUEST, arrival, put
from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError, DataError
from tellapart.sources import collection as collections
from tellapart.sources.candidate import Candidate
from tellapart.sources.collection import JOURNAL, Collection


def journal(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / JOURNAL).read_text().splitlines()]


# ---------------------------------------------------------------------------------- the journal


def test_what_was_noted_is_there_after_opening_again(download_folder):
    one = arrival(group="p1", licence="CC-BY", metadata={"age": "45", "who": "Zoë"}, size_px=(48, 40))
    with Collection(download_folder, REQUEST) as collection:
        put(collection, one, arrival("b1", "bee"))
        collection.note_refusal(Candidate("a2", "https://a.example/", "ant"), "answered 404")
    with Collection(download_folder, REQUEST) as collection:
        assert collection.arrived("ant") == {"a1": one}
        assert collection.arrived("bee").keys() == {"b1"}
        assert collection.arrived("wasp") == {}
        assert collection.refused("ant") == {"a2": "answered 404"}
        assert [a.path for a in collection.arrivals] == ["ant/a1.png", "bee/b1.png"]
    assert [event["event"] for event in journal(download_folder)] == [
        "request",
        "arrived",
        "arrived",
        "refused",
    ]


def test_an_image_without_its_file_counts_for_nothing(download_folder):
    with Collection(download_folder, REQUEST) as collection:
        put(collection, arrival("a1"), arrival("a2"), arrival("a3"))
    (download_folder / "ant/a1.png").unlink()
    (download_folder / "ant/a2.png").write_bytes(b"cut")
    with Collection(download_folder, REQUEST) as collection:
        assert collection.arrived("ant").keys() == {"a3"}
        put(collection, arrival("a1"))  # the same bytes may come again under the same name
        assert collection.arrived("ant").keys() == {"a1", "a3"}


def test_equal_bytes_are_taken_once(download_folder):
    with Collection(download_folder, REQUEST) as collection:
        put(collection, arrival("a1", source_sha256="same"))
        assert collection.note_arrival(arrival("b1", "bee", source_sha256="same")) == "ant/a1.png"
        assert collection.arrived("bee") == {}
    with Collection(download_folder, REQUEST) as collection:
        assert collection.note_arrival(arrival("b1", "bee", source_sha256="same")) == "ant/a1.png"


def test_a_line_that_was_cut_short_is_dropped_wherever_it_was_cut(download_folder):
    with Collection(download_folder, REQUEST) as collection:
        put(collection, arrival("a1"), arrival("a2"))
    whole = (download_folder / JOURNAL).read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in (last + 1, last + 40, len(whole) - 1):
        (download_folder / JOURNAL).write_bytes(whole[:end])
        with Collection(download_folder, REQUEST) as collection:
            assert collection.arrived("ant").keys() == {"a1"}
            put(collection, arrival("a3"))
        with Collection(download_folder, REQUEST) as collection:
            assert collection.arrived("ant").keys() == {"a1", "a3"}


def test_a_full_disk_leaves_no_half_line(download_folder, monkeypatch):
    with Collection(download_folder, REQUEST) as collection:
        put(collection, arrival("a1"))
        real = os.write
        monkeypatch.setattr(os, "write", lambda handle, line: real(handle, line[:20]))
        with pytest.raises(OSError, match="No space left"):
            collection.note_arrival(arrival("a2"))
        monkeypatch.setattr(os, "write", real)
        put(collection, arrival("a3"))
    assert [event["candidate"]["id"] for event in journal(download_folder)[1:]] == ["a1", "a3"]


def test_a_closed_collection_takes_nothing_more(download_folder):
    with Collection(download_folder, REQUEST) as collection:
        put(collection, arrival("a1"))
    with (download_folder / "other").open("w"), pytest.raises(OSError, match="Bad file"):
        collection.note_arrival(arrival("a2"))
    assert (download_folder / "other").read_bytes() == b""
    assert len(journal(download_folder)) == 2


def test_threads_do_not_mix_their_lines(download_folder):
    with Collection(download_folder, REQUEST) as collection:
        threads = [
            threading.Thread(target=lambda k=k: [put(collection, arrival(f"{k}-{i}")) for i in range(20)])
            for k in range(8)
        ]
        (download_folder / "ant").mkdir()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(journal(download_folder)) == 161
    with Collection(download_folder, REQUEST) as collection:
        assert len(collection.arrived("ant")) == 160


def test_a_journal_survives_a_kill(download_folder):
    script = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from test_sources_collection import *\n"
        "collection = Collection(Path(sys.argv[1]), REQUEST)\n"
        "put(collection, arrival('a1'), arrival('a2'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(download_folder), str(Path(__file__).parent)], check=False
    )
    with Collection(download_folder, REQUEST) as collection:
        assert collection.arrived("ant").keys() == {"a1", "a2"}


@pytest.mark.parametrize(
    "label", ["manifest.csv", "Manifest.CSV", "README.md", "attribution.txt", "licences"]
)
def test_a_class_may_be_called_as_one_of_the_papers(download_folder, label):
    with Collection(download_folder, REQUEST) as collection:
        folder = collection.class_folder(label)
        assert folder == download_folder / f"{label}_"
        put(collection, arrival("a1", label=label, path=f"{folder.name}/a1.png"))
        collection.write_papers("title", "command", licence_texts={"CC-BY-4.0": "the text"})
    assert [sample.label for sample in Dataset.from_manifest(download_folder / "manifest.csv").samples] == [
        label
    ]


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


def test_another_request_needs_another_folder(download_folder):
    Collection(download_folder, REQUEST).close()
    with pytest.raises(ConfigError, match="begun with seed '0', now it is '1'; go on with the same options"):
        Collection(download_folder, {**REQUEST, "seed": "1"})
    with pytest.raises(ConfigError, match="begun with licence '', now it is 'CC-0'"):
        Collection(download_folder, {**REQUEST, "licence": "CC-0"})
    Collection(download_folder, REQUEST).close()


def test_a_folder_of_something_else_is_left_alone(download_folder):
    download_folder.mkdir()
    Collection(download_folder, REQUEST).close()  # an empty one is as good as none
    other = download_folder.with_name("other")
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty, and was not filled by"):
        Collection(other, REQUEST)
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]
    with pytest.raises(ConfigError, match="is not a folder"):
        Collection(other / "thesis.txt", REQUEST)


def test_one_process_at_a_time(download_folder):
    with (
        Collection(download_folder, REQUEST),
        pytest.raises(ConfigError, match="another process is fetching into"),
    ):
        Collection(download_folder, REQUEST)
    Collection(download_folder, REQUEST).close()


@pytest.mark.parametrize(
    "line", ["no json", "[]", '{"event": "arrived"}', '{"event": "refused", "id": 3}', "\0\0"]
)
def test_a_damaged_line_is_named(download_folder, line):
    Collection(download_folder, REQUEST).close()
    with (download_folder / JOURNAL).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match="damaged in line 2; delete that line"):
        Collection(download_folder, REQUEST)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write to .*; give another folder"):
        Collection(tmp_path / "file" / "out", REQUEST)


def test_space_is_checked_before(download_folder, monkeypatch):
    with Collection(download_folder, REQUEST) as collection:
        collection.check_space(1000)
        monkeypatch.setattr(collections, "SPARE_BYTES", 10**18)
        with pytest.raises(
            DataError, match=r"the images need about 5 MB, and .* make room, or ask for fewer"
        ):
            collection.check_space(5_000_000)
