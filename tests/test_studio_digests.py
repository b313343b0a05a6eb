"""Content hashes of images: read once, and known by the next studio while the files stay as they are."""

import hashlib
import os
import time

import pytest

from pictures import solid, write_class_folders
from tellapart.data.corrections import as_given
from tellapart.studio import digests as module
from tellapart.studio.digests import MANY, Digests


@pytest.fixture
def samples(tmp_path, fresh_cache):
    """A few more than are hashed one by one."""
    return as_given(write_class_folders(tmp_path / "photos", {"benign": MANY, "malignant": 2})).samples


@pytest.fixture
def settled(monkeypatch):
    """An hour later."""
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 3600)


@pytest.fixture
def read(monkeypatch):
    """The images whose files are read."""
    found = []
    hash_file = module.hash_file
    monkeypatch.setattr(module, "hash_file", lambda sample: found.append(sample.id) or hash_file(sample))
    return found


def true_hashes(samples):
    return [hashlib.sha256(sample.path.read_bytes()).hexdigest() for sample in samples]


def learnt(samples):
    digests = Digests(samples)
    digests.learn(range(len(samples)))
    return [digests.get(i) for i in range(len(samples))]


def test_the_next_studio_reads_no_file_that_is_as_it_was(samples, settled, read):
    assert learnt(samples) == true_hashes(samples)
    assert sorted(read) == sorted(sample.id for sample in samples)
    read.clear()
    assert learnt(samples) == true_hashes(samples)
    assert read == []


def test_a_file_that_was_changed_is_read_again_even_if_size_and_time_are_put_back(samples, settled, read):
    path, before = samples[3].path, samples[3].path.stat()
    first = learnt(samples)
    read.clear()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [a != b for a, b in zip(first, learnt(samples), strict=True)].count(True) == 1
    assert read == [samples[3].id]


def test_what_was_written_just_now_is_not_relied_on(samples, read):
    learnt(samples)
    read.clear()
    learnt(samples)
    assert len(read) == len(samples)


def test_without_a_cache_files_are_hashed_all_the_same(samples, settled, tmp_path, monkeypatch):
    solid("red").save(tmp_path / "a file.png")
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "a file.png" / "cache"))
    assert learnt(samples) == true_hashes(samples)


def test_a_file_that_is_not_there_has_no_hash(samples, settled):
    samples[0].path.unlink()
    assert learnt(samples)[0] == ""
    assert Digests(samples).get(0) == ""


def test_what_nobody_asked_for_is_not_known(samples):
    digests = Digests(samples)
    assert digests.known(0) is None
    digests.get(0)
    assert digests.known(0) == true_hashes(samples)[0]
