"""Wikimedia Commons: the media files behind Wikipedia."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from tellapart.errors import FetchError
from tellapart.sources.answers import one_line, web_address
from tellapart.sources.candidate import Candidate
from tellapart.sources.licences import OPEN_LICENCES, versioned

if TYPE_CHECKING:
    from tellapart.sources.session import Session

API = "https://commons.wikimedia.org/w/api.php"

WIDTHS_PX = (20, 40, 60, 120, 250, 330, 500, 960, 1280, 1920, 3840)
"""The widths in which smaller copies are kept there; others are refused."""

_PAGE_SIZE = 50  # copies of a chosen width are given for no more at once
_MAX_QUESTIONS = 200  # the search ends at 10,000 results
_ACCEPTED_TYPES = frozenset(f"image/{kind}" for kind in ("jpeg", "png", "webp", "tiff", "gif", "bmp"))
_CC = re.compile(r"CC[ -](BY(?:-(?:NC|SA|ND))*)(?:[ -]([0-9.]+))?", re.IGNORECASE)
_CC_ZERO = re.compile(r"CC[ -]?0|CC[ -]ZERO", re.IGNORECASE)
_PUBLIC_DOMAIN = re.compile(r"PUBLIC DOMAIN|PD\b|NO RESTRICTIONS", re.IGNORECASE)
_WITHOUT_END = frozenset(
    {"area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
)


class Commons:
    """Asks Wikimedia Commons.

    Parameters
    ----------
    session
        Makes the requests.
    licences
        Names from `licences.LICENCES`; images under others are not offered.
    api
        Address of the service.
    edge_px
        Whether smaller copies do, whose short edge has at least so many pixels (unless one edge is more than
        twice the other, or the original is smaller); None for the originals, which can be very large.
    """

    name = "commons"

    def __init__(
        self,
        session: "Session",
        licences: Sequence[str] = OPEN_LICENCES,
        *,
        api: str = API,
        edge_px: int | None = None,
    ) -> None:
        self.passed_over: Counter[str] = Counter()
        self._session = session
        self._licences = frozenset(licences)
        self._api = api
        self._width_px = next((w for w in WIDTHS_PX if edge_px and w >= 2 * edge_px), None)

    def count(self, text: str) -> int:
        """See `search.Source.count`; the service counts images under any licence."""
        answer = self._ask(
            {"list": "search", "srsearch": _search(text), "srnamespace": "6", "srlimit": "1"}
            | {"srinfo": "totalhits", "srprop": ""}
        )
        found = _mapping(_mapping(answer, "query"), "searchinfo").get("totalhits")
        if not isinstance(found, int):
            raise self._unexpected()
        return found

    def find(self, text: str, label: str) -> Iterator[Candidate]:
        """See `search.Source.find`."""
        question = {
            "generator": "search",
            "gsrsearch": _search(text),
            "gsrnamespace": "6",
            "gsrlimit": str(_PAGE_SIZE),
            "prop": "imageinfo",
            "iiprop": "url|mime|extmetadata",
            "iiextmetadatalanguage": "en",
        }
        if self._width_px:
            question["iiurlwidth"] = str(self._width_px)
        seen: set[int] = set()
        more: dict[str, str] = {}
        for _ in range(_MAX_QUESTIONS):
            answer = self._ask(question | more)
            for page in self._pages(answer):
                # An answer may give some of its files' details only in the next one, which repeats the files.
                if page["pageid"] not in seen and page.get("imageinfo"):
                    seen.add(page["pageid"])
                    if (candidate := self._candidate(page, text, label)) is not None:
                        yield candidate
            more = {key: str(value) for key, value in _mapping(answer, "continue").items()}
            if not more:
                return

    def _ask(self, question: Mapping[str, str]) -> Mapping[str, Any]:
        answer = self._session.get_json(
            self._api, {"action": "query", "format": "json", "formatversion": "2", **question}
        )
        if not isinstance(answer, dict):
            raise self._unexpected()
        if problem := _mapping(answer, "error"):  # which comes with status 200
            code = problem.get("code")
            raise FetchError(
                f"{self._api} refused the search (code {code!r}); change the text, or try again later"
            )
        return answer

    def _pages(self, answer: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the files of an answer, the best match first; it lists them in any order."""
        if "query" not in answer:  # nothing found
            return []
        pages = _mapping(answer, "query").get("pages")
        if not isinstance(pages, list) or not all(_is_page(page) for page in pages):
            raise self._unexpected()
        return sorted(pages, key=lambda page: int(page["index"]))

    def _candidate(self, page: Mapping[str, Any], text: str, label: str) -> Candidate | None:
        """Return what a file offers, or count why it cannot be used."""
        info = page["imageinfo"][0]
        details = _mapping(info, "extmetadata")
        short_name = _plain(details, "LicenseShortName")
        licence, version = _licence(short_name)
        mime = one_line(info.get("mime"))
        url = web_address(one_line(info.get("thumburl") or info.get("url")))
        if url is None:
            self.passed_over["without a usable address"] += 1
        elif licence not in self._licences:
            self.passed_over["under another licence"] += 1
        elif mime not in _ACCEPTED_TYPES:
            self.passed_over[f"of the type {mime.removeprefix('image/')}"] += 1
        else:
            title = one_line(page.get("title")).removeprefix("File:").rsplit(".", 1)[0]
            creator = _plain(details, "Artist")
            address = one_line(info.get("descriptionurl"))
            return Candidate(
                id=f"commons_{page['pageid']}",
                url=url,
                label=label,
                licence=versioned(licence, version),
                licence_url=web_address(_plain(details, "LicenseUrl")) or "",
                attribution=_plain(details, "Attribution")
                or _attribution(title, creator, short_name, address),
                metadata={
                    "service": "commons",
                    "query": text,
                    "title": title,
                    "creator": creator,
                    "page": address,
                },
                # The announced width and height are those of the upright picture, and of the original.
            )
        return None

    def _unexpected(self) -> FetchError:
        return FetchError(
            f"{self._api} answered with something else than a list of images; "
            "try again later, or --source openverse"
        )


def _search(text: str) -> str:
    return f"filetype:bitmap {text}"


def _is_page(page: object) -> bool:
    if not isinstance(page, dict):
        return False
    info = page.get("imageinfo", [])
    return (
        isinstance(page.get("pageid"), int)
        and isinstance(page.get("index"), int)
        and isinstance(info, list)
        and all(isinstance(entry, dict) for entry in info)
    )


def _licence(short_name: str) -> tuple[str, str]:
    """Return our name of a licence and its version; empty where it is none that can be asked for."""
    if match := _CC.match(short_name):
        return f"CC-{match[1].upper()}", match[2] or ""
    if _CC_ZERO.match(short_name):
        return "CC-0", ""
    return ("PDM", "") if _PUBLIC_DOMAIN.match(short_name) else ("", "")


def _attribution(title: str, creator: str, licence: str, address: str) -> str:
    by = f" by {creator}" if creator else ""
    return f'"{title}"{by}, {licence}, via Wikimedia Commons, {address}'


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def _plain(details: Mapping[str, Any], key: str) -> str:
    """Return a detail, which is HTML, as one line of text."""
    value = _mapping(details, key).get("value")
    if not isinstance(value, str):
        return ""
    parser = _Text()
    parser.feed(value.replace("<![", "&lt;!["))  # sections, at which the parser gives up
    parser.close()
    return one_line("".join(parser.parts))


class _Text(HTMLParser):
    """Collects the text that a browser would show."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._open: list[tuple[str, bool]] = []  # tag, and whether it hides what is in it

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _WITHOUT_END:
            style = (dict(attrs).get("style") or "").replace(" ", "").lower()
            self._open.append((tag, tag in ("script", "style") or "display:none" in style))
        if tag in ("br", "div", "li", "p"):
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        tags = [open_tag for open_tag, _ in self._open]
        if tag in tags:
            del self._open[len(tags) - 1 - tags[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        if not any(hides for _, hides in self._open):
            self.parts.append(data)
