"""Openverse: a search over openly licensed images of many museums, libraries and photographers."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tellapart.data.images import ACCEPTED_SUFFIXES
from tellapart.errors import FetchError
from tellapart.sources.answers import one_line, web_address
from tellapart.sources.candidate import Candidate
from tellapart.sources.licences import OPEN_LICENCES, versioned

if TYPE_CHECKING:
    from tellapart.sources.session import Session

API = "https://api.openverse.org/v1"

_PAGE_SIZE = 20  # more needs an account: 401
_MAX_PAGES = 20  # later ones are refused: 400


class Openverse:
    """Asks Openverse without an account: some twenty questions a minute, a few hundred images each.

    Parameters
    ----------
    session
        Makes the requests.
    licences
        Names from `licences.LICENCES`; images under others are not offered.
    api
        Address of the service.
    excluded
        Collections behind Openverse that are not searched, such as ``wikimedia`` when it is asked directly.
    """

    name = "openverse"

    def __init__(
        self,
        session: "Session",
        licences: Sequence[str] = OPEN_LICENCES,
        *,
        api: str = API,
        excluded: Sequence[str] = (),
    ) -> None:
        self.passed_over: Counter[str] = Counter()
        self._session = session
        self._licence_of = {_code(name): name for name in licences}
        self._url = f"{api.rstrip('/')}/images/"
        self._excluded = excluded

    def count(self, text: str) -> int:
        """See `search.Source.count`; never above what `find` could offer."""
        found = self._ask(text, page=1, page_size=1).get("result_count")
        if not isinstance(found, int):
            raise _unexpected(self._url)
        return min(found, _PAGE_SIZE * _MAX_PAGES)

    def find(self, text: str, label: str) -> Iterator[Candidate]:
        """See `search.Source.find`."""
        for page in range(1, _MAX_PAGES + 1):
            answer = self._ask(text, page=page, page_size=_PAGE_SIZE)
            # Dead links are taken out of a page after it was cut, so that a short page is not the last one.
            results, n_pages = answer.get("results"), answer.get("page_count")
            if not isinstance(results, list) or not isinstance(n_pages, int):
                raise _unexpected(self._url)
            for result in results:
                if (candidate := self._candidate(result, text, label)) is not None:
                    yield candidate
            if page >= n_pages:
                return

    def _ask(self, text: str, *, page: int, page_size: int) -> Mapping[str, Any]:
        params = {
            "q": text,
            "license": ",".join(self._licence_of),
            "page": str(page),
            "page_size": str(page_size),
        }
        if self._excluded:
            params["excluded_source"] = ",".join(self._excluded)
        answer = self._session.get_json(self._url, params)
        if not isinstance(answer, dict):
            raise _unexpected(self._url)
        return answer

    def _candidate(self, result: object, text: str, label: str) -> Candidate | None:
        """Return what a result offers, or count why it cannot be used."""
        if not isinstance(result, dict):
            raise _unexpected(self._url)
        url = web_address(one_line(result.get("url")))
        identifier = one_line(result.get("id"))
        licence = self._licence_of.get(one_line(result.get("license")).lower())
        file_type = one_line(result.get("filetype")).lower()
        if url is None or not identifier.replace("-", "").isalnum() or not identifier.isascii():
            self.passed_over["without a usable address"] += 1
        elif licence is None:
            self.passed_over["under another licence"] += 1
        elif file_type and f".{file_type}" not in ACCEPTED_SUFFIXES:
            self.passed_over[f"of the type {file_type}"] += 1
        else:
            return Candidate(
                id=f"openverse_{identifier}",
                url=url,
                label=label,
                licence=versioned(licence, one_line(result.get("license_version"))),
                licence_url=web_address(one_line(result.get("license_url"))) or "",
                attribution=_attribution(result),
                metadata={
                    "service": "openverse",
                    "provider": one_line(result.get("source")),
                    "query": text,
                    "title": one_line(result.get("title")),
                    "creator": one_line(result.get("creator")),
                    "page": one_line(result.get("foreign_landing_url")),
                },
                # Width and height are those of the catalogue, not always of the file: nothing to check by.
            )
        return None


def _code(licence: str) -> str:
    """Return Openverse's name of a licence: ``by-sa`` for CC-BY-SA."""
    return "cc0" if licence == "CC-0" else licence.lower().removeprefix("cc-")


def _attribution(result: Mapping[str, Any]) -> str:
    """Return whom to name, and where the image is from: both are asked for by most licences."""
    title, creator = one_line(result.get("title")), one_line(result.get("creator"))
    named = one_line(result.get("attribution")) or f'"{title}" by {creator or "an unknown author"}.'
    page = web_address(one_line(result.get("foreign_landing_url")))
    return f"{named} Source: {page}" if page else named


def _unexpected(url: str) -> FetchError:
    return FetchError(
        f"{url} answered with something else than a list of images; try again later, or --source commons"
    )
