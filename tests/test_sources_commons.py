from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse

from search_services import THUMBNAIL_WIDTHS, Picture, SearchServices
from servers import running
from tellapart.errors import FetchError
from tellapart.sources import commons as commons_module
from tellapart.sources.commons import WIDTHS_PX, Commons
from tellapart.sources.licences import LICENCES
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
def commons(session, service):
    """Makes an adapter that finds these pictures."""

    def having(*pictures, licences=LICENCES, overrides=None, split=False, page=50, **options):
        service.pictures, service.overrides = list(pictures), overrides or {}
        service.split_details, service.commons_page = split, page
        service.asked.clear()
        service.next_answers.clear()
        return Commons(session, licences, api=f"{service.url}/w/api.php", **options)

    return having


def numbers(candidates):
    return [int(candidate.id.removeprefix("commons_")) for candidate in candidates]


def test_an_image_comes_with_its_licence_and_whom_to_name(commons, service):
    (found,) = commons(Picture(7, "cat", "by-sa", "3.0")).find("cat", "Katze")
    assert found.id == "commons_7"
    assert found.url == f"{service.url}/files/7.jpg"
    assert found.label == "Katze"
    assert found.licence == "CC-BY-SA 3.0"
    assert found.licence_url == "https://creativecommons.org/licenses/by-sa/3.0/"
    page = "https://commons.example.org/wiki/File:Picture_7"
    assert found.attribution == f'"Picture 7" by Zoë Müller, CC BY-SA 3.0, via Wikimedia Commons, {page}'
    assert found.metadata == {
        "service": "commons",
        "query": "cat",
        "title": "Picture 7",
        "creator": "Zoë Müller",
        "page": page,
    }


def test_what_the_file_asks_to_be_named_as_goes_first(commons):
    wanted = {"Attribution": "Photo: <i>Zoë</i> &amp; friends<br>2020"}
    (found,) = commons(Picture(1), overrides={1: wanted}).find("cat", "cat")
    assert found.attribution == "Photo: Zoë & friends 2020"


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("Zoë", "Zoë"),
        ("<div>Zoë</div><div>Max</div>", "Zoë Max"),
        ("<style>.a{}</style>Zoë<script>x</script>", "Zoë"),
        ('<span style="display : none"><p>hidden</span>Zoë', "Zoë"),
        ('Zoë<img src=x><a href="//y">', "Zoë"),
        ("</p>Zoë<![x[", "Zoë<![x["),
        ("a < b &amp; c", "a < b & c"),
        ("", ""),
    ],
)
def test_authors_are_named_as_a_browser_would_show_them(commons, html, shown):
    (found,) = commons(Picture(1), overrides={1: {"Artist": html}}).find("cat", "cat")
    assert found.metadata["creator"] == shown


@given(html=st.text(alphabet='<>!-[]/ &;ab="', max_size=30))
def test_any_text_can_be_shown(html):
    shown = commons_module._plain({"Artist": {"value": html}}, "Artist")
    assert shown.isprintable()


def test_images_come_in_the_order_of_the_search(commons, service):
    adapter = commons(*map(Picture, [3, 9, 1, 5, 7]), page=2)
    assert numbers(adapter.find("cat", "cat")) == [3, 9, 1, 5, 7]
    assert len(service.asked) == 3


def test_a_page_is_asked_for_when_it_is_needed(commons, service):
    next(commons(*map(Picture, range(1, 6)), page=2).find("cat", "cat"))
    assert len(service.asked) == 1


def test_details_may_come_in_a_further_answer(commons):
    adapter = commons(*map(Picture, range(1, 8)), split=True, page=3)
    assert sorted(numbers(adapter.find("cat", "cat"))) == [1, 2, 3, 4, 5, 6, 7]


def test_only_photographs_are_searched_for(commons, service):
    list(commons().find("tabby cat", "cat"))
    assert parse_qs(urlsplit(service.asked[0]).query)["gsrsearch"] == ["filetype:bitmap tabby cat"]


def test_only_licences_that_were_asked_for_are_offered(commons):
    codes = ["by", "by-nc", "cc0", "by-sa", "pdm", "sampling+"]
    adapter = commons(*(Picture(n, licence=code) for n, code in enumerate(codes)), licences=("CC-0", "PDM"))
    assert [candidate.licence for candidate in adapter.find("cat", "cat")] == ["CC-0", "PDM"]
    assert adapter.passed_over == {"under another licence": 4}


@pytest.mark.parametrize(
    ("short_name", "licence"),
    [
        ("CC BY 2.5", "CC-BY 2.5"),
        ("CC-BY-SA-3.0", "CC-BY-SA 3.0"),
        ("CC BY-SA 3.0 de", "CC-BY-SA 3.0"),
        ("CC BY-NC-ND 4.0", "CC-BY-NC-ND 4.0"),
        ("CC0", "CC-0"),
        ("CC0 1.0", "CC-0"),
        ("Public domain", "PDM"),
        ("PD-old", "PDM"),
    ],
)
def test_licences_are_known_by_their_short_names(commons, short_name, licence):
    adapter = commons(Picture(1), overrides={1: {"LicenseShortName": short_name}})
    (found,) = adapter.find("cat", "cat")
    assert found.licence == licence


@pytest.mark.parametrize("short_name", ["GFDL", "FAL", "", None, 3, "PDF", "Attribution", "CC SA 1.0"])
def test_other_licences_are_counted(commons, short_name):
    adapter = commons(Picture(1), overrides={1: {"LicenseShortName": short_name}})
    assert numbers(adapter.find("cat", "cat")) == []
    assert adapter.passed_over == {"under another licence": 1}


def test_drawings_are_counted(commons):
    adapter = commons(Picture(1, suffix="svg"), Picture(2))
    assert numbers(adapter.find("cat", "cat")) == [2]
    assert adapter.passed_over == {"of the type svg+xml": 1}


@pytest.mark.parametrize(
    ("edge_px", "width"), [(224, 500), (480, 960), (481, 1280), (1920, 3840), (1921, None)]
)
def test_smaller_copies_are_asked_for_in_a_width_that_exists(commons, service, edge_px, width):
    (found,) = commons(Picture(1, size=(5000, 4000)), edge_px=edge_px).find("cat", "cat")
    wanted = f"{service.url}/thumb/1/{width}px.jpg" if width else f"{service.url}/files/1.jpg"
    assert found.url == wanted
    assert set(WIDTHS_PX) == THUMBNAIL_WIDTHS


def test_a_small_original_is_taken_as_it_is(commons, service):
    (found,) = commons(Picture(1, size=(300, 200)), edge_px=224).find("cat", "cat")
    assert found.url == f"{service.url}/files/1.jpg"


def test_the_count_is_that_of_the_search(commons):
    assert commons(*map(Picture, range(123))).count("cat") == 123
    assert commons().count("cat") == 0


def test_an_error_with_status_200_is_an_error(commons):
    with pytest.raises(FetchError, match=r"refused the search \(code 'cirrussearch-parse-error'\)"):
        list(commons().find('"', "cat"))


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {"query": {}},
        {"query": {"pages": {"1": {}}}},
        {"query": {"pages": [1]}},
        {"query": {"pages": [{"pageid": 1}]}},
        {"query": {"pages": [{"pageid": "../x", "index": 1}]}},
        {"query": {"pages": [{"pageid": 1, "index": 1, "imageinfo": [None]}]}},
    ],
)
def test_another_kind_of_answer_is_one_clear_error(commons, service, answer):
    adapter = commons()
    service.next_answers.append(JSONResponse(answer))
    with pytest.raises(FetchError, match="something else than a list of images"):
        list(adapter.find("cat", "cat"))


def test_a_count_that_is_none_is_one_clear_error(commons, service):
    adapter = commons()
    service.next_answers.append(JSONResponse({"query": {}}))
    with pytest.raises(FetchError, match="something else than a list of images"):
        adapter.count("cat")


def test_a_file_without_details_is_counted(commons, service):
    adapter = commons()
    page = {"pageid": 1, "index": 1, "imageinfo": [{"url": "file:///etc/passwd"}]}
    service.next_answers.append(JSONResponse({"query": {"pages": [page]}}))
    assert numbers(adapter.find("cat", "cat")) == []
    assert adapter.passed_over == {"without a usable address": 1}


def test_a_service_that_repeats_itself_comes_to_an_end(commons, service, monkeypatch):
    monkeypatch.setattr("tellapart.sources.commons._MAX_QUESTIONS", 3)
    adapter = commons()
    page = {"pageid": 1, "index": 1}
    again = {"continue": {"gsroffset": 50}, "query": {"pages": [page]}}
    service.next_answers.extend(JSONResponse(again) for _ in range(5))
    assert numbers(adapter.find("cat", "cat")) == []
    assert len(service.asked) == 3
