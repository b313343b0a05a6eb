import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictures import solid, write_class_folders
from tellapart.errors import ConfigError, FetchError
from tellapart.sources.candidate import Candidate
from tellapart.sources.network import Unavailable
from tellapart.sources.search import Query, Search, licence_name, one_line, read_queries, web_address


class Listed:
    """A source that has what it was given."""

    def __init__(self, name, *ids):
        self.name, self.ids, self.taken = name, ids, 0
        self.passed_over = Counter()

    def count(self, text):
        return len(self.ids)

    def find(self, text, label):
        for id in self.ids:
            self.taken += 1
            yield Candidate(id, f"https://example.org/{id}", label)


def texts(*words):
    return [Query(word, "text") for word in words]


def ids(candidates):
    return [candidate.id for candidate in candidates]


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
        ({"Licences": ["a"]}, "'licences' and 'Licences' would be one folder"),
        ({"Cat": ["a"], "cat": ["b"]}, "would be one folder"),
        ({"caf\u00e9": ["a"], "cafe\u0301": ["b"]}, "would be one folder"),
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


def test_queries_and_sources_take_turns():
    search = Search([Listed("one", "a", "b", "c"), Listed("two", "x")])
    assert ids(search.candidates("cat", texts("cat"))) == ["a", "x", "b", "c"]


def test_services_are_asked_only_for_what_is_taken():
    source = Listed("one", *"abcdef")
    stream = Search([source]).candidates("cat", texts("cat"))
    assert source.taken == 0
    next(stream)
    assert source.taken == 1


def test_no_image_is_offered_twice_nor_under_two_classes():
    search = Search([Listed("one", "a", "b")])
    assert ids(search.candidates("cat", texts("cat", "kitten"))) == ["a", "b"]
    assert ids(search.candidates("dog", texts("dog"))) == []
    assert search.passed_over == {"found for another class too": 2}


def test_what_is_there_from_an_earlier_call_keeps_its_class():
    search = Search([Listed("one", "a", "b")], {"a": "cat"})
    assert ids(search.candidates("dog", texts("dog"))) == ["b"]
    assert ids(search.candidates("cat", texts("cat"))) == ["a"]


def test_what_sources_passed_over_is_added_up():
    one, two = Listed("one"), Listed("two")
    one.passed_over["under another licence"] = 2
    two.passed_over["under another licence"] = 3
    assert Search([one, two]).passed_over == {"under another licence": 5}
    assert one.passed_over == {"under another licence": 2}


class Failing(Listed):
    """A source that fails after what it has."""

    def __init__(self, error, *ids):
        super().__init__("failing", *ids)
        self.error = error

    def find(self, text, label):
        yield from super().find(text, label)
        raise self.error


def test_a_service_that_fails_does_not_end_the_search():
    search = Search([Failing(FetchError("no such word"), "x"), Listed("one", "a", "b", "c")])
    assert ids(search.candidates("cat", texts("cat"))) == ["x", "a", "b", "c"]
    assert search.failures == ["failing gave up on 'cat': no such word"]
    assert ids(search.candidates("dog", texts("dog"))) == []
    assert search.failures[1:] == ["failing gave up on 'dog': no such word"]


def test_a_service_that_cannot_be_had_is_not_asked_again():
    source = Failing(Unavailable("it is down"), "a")
    search = Search([source])
    assert ids(search.candidates("cat", texts("cat", "kitten"))) == ["a"]
    assert ids(search.candidates("dog", texts("dog"))) == []
    assert source.taken == 2  # both texts were begun before the first one failed
    assert len(search.failures) == 2


def test_a_folder_offers_its_images_with_file_addresses(tmp_path):
    (tmp_path / "deep").mkdir()
    solid().save(tmp_path / "b.png")
    solid().save(tmp_path / "deep" / "a über.png")
    (tmp_path / "notes.txt").write_text("no image")
    found = list(Search([]).candidates("cat", [Query("cats", "folder", tmp_path)]))
    assert [candidate.url for candidate in found] == [
        (tmp_path / "b.png").resolve().as_uri(),
        (tmp_path / "deep" / "a über.png").resolve().as_uri(),
    ]
    assert found[0].metadata == {"service": "folder", "query": "cats", "title": "b"}
    assert found[0].licence == ""
    assert len({candidate.id for candidate in found}) == 2


def test_an_address_is_one_candidate_whose_id_is_a_file_name():
    query = Query("https://example.org/über uns/a.jpg?x=1", "address")
    (found,) = Search([]).candidates("cat", [query])
    assert found.url == "https://example.org/%C3%BCber%20uns/a.jpg?x=1"
    assert found.id.startswith("web_")
    assert found.id.isidentifier()


@pytest.mark.parametrize(("written", "name"), [("cc0", "CC-0"), (" cc-by ", "CC-BY"), ("PDM", "PDM")])
def test_licences_may_be_written_in_any_case(written, name):
    assert licence_name(written) == name


def test_an_unknown_licence_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="no licence is called 'GPL'; accepted: CC-0, PDM"):
        licence_name("GPL")


@pytest.mark.parametrize(
    "text", ["file:///etc/passwd", "ftp://a/b", "/etc/passwd", "", "javascript:x", "http:/a"]
)
def test_only_web_addresses_are_followed(text):
    assert web_address(text) is None


@given(st.text())
def test_an_address_is_ascii_and_stays_itself(text):
    address = web_address(f"https://example.org/{text}")
    assert address is not None
    assert address.isascii()
    assert address.isprintable()
    assert " " not in address
    assert web_address(address) == address


@given(st.text() | st.none() | st.integers())
def test_one_line_can_be_printed_and_written(value):
    line = one_line(value)
    assert line.isprintable()
    assert line == line.strip()
    line.encode("utf-8")
