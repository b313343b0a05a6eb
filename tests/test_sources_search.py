"""A search: what is offered for a class, in which order, and what becomes of a service that fails."""

from collections import Counter

from pictures import solid
from tellapart.errors import FetchError
from tellapart.sources.candidate import Candidate
from tellapart.sources.network import Unavailable
from tellapart.sources.queries import Query
from tellapart.sources.search import Search


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
