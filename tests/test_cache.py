"""The content cache: what is put is got, by threads and after damage alike."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from tellapart.data.cache import ContentCache
from tellapart.errors import CacheError


def test_values_come_back_and_unknown_keys_do_not(fresh_cache):
    cache = ContentCache("features")
    cache.put([("a", b"1"), ("b", b"2")])
    assert ContentCache("features").get(["a", "b", "c"]) == {"a": b"1", "b": b"2"}
    assert ContentCache("other").get(["a"]) == {}


def test_more_keys_than_one_query_takes(fresh_cache):
    cache = ContentCache("many")
    cache.put([(str(i), b"x") for i in range(1234)])
    assert len(cache.get([str(i) for i in range(2000)])) == 1234


def test_threads_may_write_together(fresh_cache):
    cache = ContentCache("threads")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: cache.put([(f"{i}", b"v")]), range(64)))
    assert len(cache.get([str(i) for i in range(64)])) == 64


def test_a_damaged_cache_says_what_to_do(fresh_cache):
    fresh_cache.mkdir()
    (fresh_cache / "bad.sqlite").write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(CacheError, match="delete it"):
        ContentCache("bad")


def test_the_file_is_plain_sqlite(fresh_cache):
    ContentCache("plain").put([("a", b"1")])
    with sqlite3.connect(fresh_cache / "plain.sqlite") as connection:
        assert connection.execute("SELECT sha256 FROM content").fetchall() == [("a",)]


def test_a_place_that_cannot_be_written_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "file"))
    with pytest.raises(CacheError, match="set TELLAPART_CACHE to another folder"):
        ContentCache("features")
