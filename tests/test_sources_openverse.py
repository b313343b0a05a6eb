from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.responses import HTMLResponse, JSONResponse, Response

from search_services import Picture, SearchServices
from servers import running
from tellapart.errors import FetchError
from tellapart.sources.licences import LICENCES
from tellapart.sources.openverse import Openverse
from tellapart.sources.session import Session


@pytest.fixture(scope="module")
def session():
    with Session(allow_private=True, attempts=3, first_pause_s=0.01) as session:
        yield session


@pytest.fixture(scope="module")
def service():
    services = SearchServices([])
    with running(services.app) as url:
        services.url = url
        yield services


@pytest.fixture
def openverse(session, service):
    """Makes an adapter that finds these pictures."""

    def having(*pictures, licences=("CC-BY", "CC-0"), overrides=None, **options):
        service.pictures, service.overrides = list(pictures), overrides or {}
        service.asked.clear()
        service.next_answers.clear()
        return Openverse(session, licences, api=f"{service.url}/v1", **options)

    return having


def ids(candidates):
    return [candidate.id for candidate in candidates]


def test_an_image_comes_with_its_licence_and_whom_to_name(openverse, service):
    (found,) = openverse(Picture(7, "cat", "by", "2.0")).find("cat", "Katze")
    assert found.id == "openverse_00000007-0000-4000-8000-000000000000"
    assert found.url == f"{service.url}/files/7.jpg"
    assert found.label == "Katze"
    assert found.licence == "CC-BY 2.0"
    assert found.licence_url == "https://creativecommons.org/licenses/by/2.0/"
    assert found.attribution == '"Picture 7" by Zoë Müller, CC BY 2.0. Source: https://example.org/photos/7'
    assert found.size_px is None
    assert found.metadata == {
        "service": "openverse",
        "provider": "flickr",
        "query": "cat",
        "title": "Picture 7",
        "creator": "Zoë Müller",
        "page": "https://example.org/photos/7",
    }


@pytest.mark.parametrize(
    ("values", "attribution"),
    [
        ({"attribution": None}, '"Picture 1" by Zoë Müller. Source: https://example.org/photos/1'),
        ({"foreign_landing_url": "javascript:x"}, '"Picture 1" by Zoë Müller, CC BY 4.0.'),
        (
            {"attribution": None, "creator": None, "foreign_landing_url": None},
            '"Picture 1" by an unknown author.',
        ),
    ],
)
def test_somebody_is_named_whatever_is_known(openverse, values, attribution):
    (found,) = openverse(Picture(1), overrides={1: values}).find("cat", "cat")
    assert found.attribution == attribution


def test_only_licences_that_were_asked_for_are_found(openverse, service):
    pictures = [Picture(n, licence=code) for n, code in enumerate(["by", "by-nc", "cc0", "by-sa", "pdm"])]
    found = openverse(*pictures, licences=("CC-0", "PDM", "CC-BY-SA")).find("cat", "cat")
    assert [candidate.licence for candidate in found] == ["CC-0", "CC-BY-SA 4.0", "PDM"]
    assert parse_qs(urlsplit(service.asked[0]).query)["license"] == ["cc0,pdm,by-sa"]


def test_every_licence_can_be_asked_for(openverse):
    codes = ["cc0", "pdm", "by", "by-sa", "by-nc", "by-nc-sa", "by-nd", "by-nc-nd"]
    found = openverse(*(Picture(n, licence=code) for n, code in enumerate(codes)), licences=LICENCES)
    names = [candidate.licence.removesuffix(" 4.0") for candidate in found.find("cat", "cat")]
    assert names == list(LICENCES)


def test_pages_follow_one_another_and_short_ones_do_not_end_the_search(openverse, service):
    pictures = [Picture(n, is_dead=n < 25) for n in range(65)]
    found = ids(openverse(*pictures).find("cat", "cat"))
    assert len(found) == 40
    assert len(set(found)) == 40
    assert len(service.asked) == 4  # the last one is partly filled; the first has nothing alive


def test_a_page_is_asked_for_when_it_is_needed(openverse, service):
    stream = openverse(*map(Picture, range(65))).find("cat", "cat")
    for _ in range(20):
        next(stream)
    assert len(service.asked) == 1
    next(stream)
    assert len(service.asked) == 2


def test_the_search_stops_where_the_service_does(openverse, service):
    adapter = openverse(*map(Picture, range(500)))
    assert adapter.count("cat") == 400
    assert len(ids(adapter.find("cat", "cat"))) == 400


def test_a_service_that_promises_ever_more_pages_is_not_followed(openverse, service):
    adapter = openverse()
    service.next_answers.extend(JSONResponse({"results": [], "page_count": 1000}) for _ in range(30))
    assert ids(adapter.find("cat", "cat")) == []
    assert len(service.asked) == 20


def test_nothing_found_is_no_error(openverse):
    adapter = openverse()
    assert adapter.count("unicorn") == 0
    assert ids(adapter.find("unicorn", "unicorn")) == []


def test_collections_can_be_left_out(openverse):
    pictures = [Picture(1, source="wikimedia"), Picture(2)]
    assert len(ids(openverse(*pictures, excluded=("wikimedia",)).find("cat", "cat"))) == 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"url": "file:///etc/passwd"}, "without a usable address"),
        ({"url": None}, "without a usable address"),
        ({"id": "../../x"}, "without a usable address"),
        ({"id": ""}, "without a usable address"),
        ({"license": "by-nc"}, "under another licence"),
        ({"license": None}, "under another licence"),
        ({"filetype": "svg"}, "of the type svg"),
    ],
)
def test_what_cannot_be_used_is_counted(openverse, values, reason):
    adapter = openverse(Picture(1), Picture(2), overrides={1: values})
    assert ids(adapter.find("cat", "cat")) == [f"openverse_{Picture(2).uuid}"]
    assert adapter.passed_over == {reason: 1}


def test_an_image_of_no_known_type_is_offered(openverse):
    adapter = openverse(Picture(1), overrides={1: {"filetype": None}})
    assert len(ids(adapter.find("cat", "cat"))) == 1


def test_what_is_told_of_an_image_is_one_printable_line(openverse):
    strange = {
        "title": "a\n\x1b[31mb\ud800",
        "creator": None,
        "license_version": "x",
        "license_url": "javascript:x",
    }
    (found,) = openverse(Picture(1), overrides={1: strange}).find("cat", "cat")
    assert found.metadata["title"] == "a [31mb"
    assert found.metadata["creator"] == ""
    assert (found.licence, found.licence_url) == ("CC-BY", "")


def test_a_busy_service_is_asked_again(openverse, service):
    adapter = openverse(Picture(1))
    service.next_answers.extend(
        [JSONResponse({"detail": "Throttled."}, 429, {"Retry-After": "0"}), Response(status_code=503)]
    )
    assert len(ids(adapter.find("cat", "cat"))) == 1
    assert len(service.asked) == 3


@pytest.mark.parametrize(
    "answer",
    [
        HTMLResponse("<html>"),
        JSONResponse([]),
        JSONResponse({}),
        JSONResponse({"results": [], "page_count": "many"}),
        JSONResponse({"results": [1], "page_count": 1}),
        JSONResponse({"detail": "No."}, 401),
    ],
)
def test_another_kind_of_answer_is_one_clear_error(openverse, service, answer):
    adapter = openverse(Picture(1))
    service.next_answers.append(answer)
    with pytest.raises(FetchError):
        list(adapter.find("cat", "cat"))


def test_a_count_that_is_none_is_one_clear_error(openverse, service):
    adapter = openverse(Picture(1))
    service.next_answers.append(JSONResponse({"result_count": None}))
    with pytest.raises(FetchError, match="something else than a list of images"):
        adapter.count("cat")
