"""The file of queries: what it may say, and what is said of what cannot be used."""

import json
import re
from pathlib import Path

import pytest

from pictures import write_class_folders
from tellapart.errors import ConfigError
from tellapart.sources.queries import Query, read_queries


@pytest.fixture
def queries(tmp_path):
    def write(content) -> Path:
        path = tmp_path / "queries.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def test_a_query_is_a_text_an_address_or_a_folder(queries, tmp_path):
    write_class_folders(tmp_path, {"own cats": 1})
    path = queries(
        {"cat": ["tabby cat", "https://example.org/a.jpg", "own cats", "./own cats"], "dog": [" dog "]}
    )
    found = read_queries(path)
    assert [query.kind for query in found["cat"]] == ["text", "address", "folder", "folder"]
    assert found["cat"][2].folder == tmp_path / "own cats"
    assert found["dog"] == (Query("dog", "text"),)


def test_folders_are_relative_to_the_file_not_to_where_one_stands(queries, tmp_path, monkeypatch):
    write_class_folders(tmp_path, {"cats": 1})
    path = queries({"cat": ["cats"]})
    monkeypatch.chdir("/")
    assert read_queries(path)["cat"][0].kind == "folder"


def test_a_query_given_twice_counts_once(queries):
    assert read_queries(queries({"cat": ["cat", "cat"]}))["cat"] == (Query("cat", "text"),)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "holds no classes"),
        ("{}", "holds no classes"),
        ('{"cat": ["a"], "cat": ["b"]}', "'cat' stands twice"),
        ({"cat": "cats"}, "has no list of queries"),
        ({"cat": []}, "has no list of queries"),
        ({"cat": [1]}, "has the query 1"),
        ({"cat": [" "]}, "has the query ' '"),
        ({"cat": ["a\nb"]}, "has the query"),
        ({"cat": ["\ud800"]}, "has the query"),
        ({"cat": ["file:///etc"]}, "begins with file://"),
        ({"cat": ["./nothing"]}, "names the folder ./nothing, but there is none"),
        ({"cat": ["~/no such folder"]}, "there is none"),
        ({"cat": ["c" * 201]}, "201 characters"),
        ({"cat": ["c" * 5000]}, "5000 characters"),
        ({"": ["a"]}, "a class is called ''"),
        ({" cat": ["a"]}, "a class is called ' cat'"),
        ({"a\0b": ["a"]}, "a class is called"),
        ({"a/b": ["a"], "a:b": ["b"]}, "the classes 'a/b' and 'a:b' would be one folder"),
    ],
)
def test_what_cannot_be_used_is_said(queries, content, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_queries(queries(content))


def test_a_missing_file_or_a_folder_is_said(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        read_queries(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_queries(tmp_path)


def test_a_folder_without_images_is_said(queries, tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "notes.txt").write_text("no image")
    with pytest.raises(ConfigError, match="which holds no images"):
        read_queries(queries({"cat": ["cats"]}))


def test_a_folder_may_lie_in_the_home_folder(queries, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = write_class_folders(tmp_path, {"cats": 1}) / "cats"
    found = read_queries(queries({"cat": ["~/cats", "~cats"]}))["cat"]
    assert found == (Query("~/cats", "folder", folder), Query("~cats", "text"))


def test_a_file_that_is_not_utf8_is_said(tmp_path):
    (tmp_path / "queries.json").write_bytes('{"café": ["a"]}'.encode("latin-1"))
    with pytest.raises(ConfigError, match="is not JSON"):
        read_queries(tmp_path / "queries.json")
