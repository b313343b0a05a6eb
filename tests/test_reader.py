"""Reading many files in order, a few ahead."""

import hashlib
import threading
import time
from pathlib import Path

import numpy as np

from pictures import write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.data.reader import chunked, fetch, hash_file, in_parallel, read
from tellapart.records import Sample


def test_results_keep_the_order_of_the_items():
    def slow_for_small(i):
        time.sleep(0.002 * (10 - i))
        return i * i

    assert list(in_parallel(slow_for_small, range(10), workers=4)) == [i * i for i in range(10)]


def test_only_a_few_items_are_taken_ahead():
    taken = []

    def items():
        for i in range(1000):
            taken.append(i)
            yield i

    results = in_parallel(lambda i: i, items(), workers=2)
    assert next(results) == 0
    assert len(taken) <= 6
    results.close()


def test_an_error_reaches_the_reader():
    before = threading.active_count()
    try:
        list(in_parallel(lambda i: 1 // i, [1, 0, 1], workers=2))
    except ZeroDivisionError:
        assert threading.active_count() <= before + 1
    else:
        raise AssertionError("the error was swallowed")


def test_chunks():
    assert [list(c) for c in chunked("abcde", 2)] == [["a", "b"], ["c", "d"], ["e"]]


def test_a_file_is_read_hashed_and_resized(tmp_path):
    sample = Dataset.from_folder(write_class_folders(tmp_path, {"a": 1})).samples[0]
    result = read(sample, Resize(32))
    assert result.pixels.shape == (32, 32, 3)
    assert result.pixels.dtype == np.uint8
    assert result.sha256 == hashlib.sha256(sample.path.read_bytes()).hexdigest() == hash_file(sample)


def test_bad_files_come_back_with_a_reason(tmp_path):
    (tmp_path / "x.png").write_bytes(b"")
    empty = read(Sample("x.png", tmp_path / "x.png", "a"), Resize(32))
    gone = read(Sample("y.png", tmp_path / "y.png", "a"), Resize(32))
    assert (empty.pixels, empty.reason) == (None, "empty file")
    assert (gone.sha256, gone.reason) == ("", "no such file or directory")
    assert fetch(gone.sample)[2] == "no such file or directory"
    assert hash_file(gone.sample) == ""


def test_names_and_sizes_that_no_picture_has_are_reasons_too(tmp_path, monkeypatch):
    no_name = Sample("z", Path("zero\0byte.png"), "a")
    assert "null" in fetch(no_name)[2]
    assert hash_file(no_name) == ""
    (tmp_path / "large.tif").write_bytes(b"x" * 100)
    monkeypatch.setattr("tellapart.data.reader.MAX_BYTES", 99)
    large = read(Sample("large.tif", tmp_path / "large.tif", "a"), Resize(32))
    assert large.pixels is None
    assert "shrink it first" in large.reason
