"""Stand-ins for Openverse and Wikimedia Commons on loopback, with the images that they find.

They answer as the services do where a client could stumble: Openverse refuses large pages, late pages and
old names of parameters, and takes dead links out of a page without filling it up; Commons lists results in
any order, spreads details over several answers, reports errors with status 200, keeps smaller copies in
a few widths only, describes authors in HTML and refuses clients that do not say who they are.
"""

import json
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pictures import class_picture, encode

OPENVERSE_LICENCES = {"by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd", "cc0", "pdm", "sampling+"}
OLD_NAMES = {"li", "lt", "pagesize", "provider"}
THUMBNAIL_WIDTHS = {20, 40, 60, 120, 250, 330, 500, 960, 1280, 1920, 3840}
MIME_TYPES = {"jpg": "image/jpeg", "png": "image/png", "svg": "image/svg+xml", "tif": "image/tiff"}


class AsciiJSON(JSONResponse):
    """JSON that may hold what UTF-8 cannot, as escapes."""

    def render(self, content: object) -> bytes:
        return json.dumps(content).encode()


@dataclass(frozen=True)
class Picture:
    """One image of the catalogue; both services have it."""

    number: int
    words: str = "cat"
    licence: str = "by"
    version: str = "4.0"
    suffix: str = "jpg"
    size: tuple[int, int] = (96, 64)
    is_dead: bool = False
    source: str = "flickr"

    @property
    def uuid(self) -> str:
        return f"{self.number:08d}-0000-4000-8000-000000000000"

    @property
    def licence_url(self) -> str:
        if self.licence == "cc0":
            return "https://creativecommons.org/publicdomain/zero/1.0/"
        if self.licence == "pdm":
            return "https://creativecommons.org/publicdomain/mark/1.0/"
        return f"https://creativecommons.org/licenses/{self.licence}/{self.version}/"

    @property
    def short_name(self) -> str:
        """As Commons calls the licence."""
        named = {"cc0": "CC0", "pdm": "Public domain", "sampling+": "GFDL"}
        return named.get(self.licence, f"CC {self.licence.upper()} {self.version}")

    def content(self, width: int | None = None) -> bytes:
        size = self.size if width is None else (width, round(width * self.size[1] / self.size[0]))
        image = class_picture(np.random.default_rng(self.number), len(self.words), size)
        return encode(image, {"jpg": "JPEG", "tif": "TIFF"}.get(self.suffix, "PNG"))


@dataclass
class SearchServices:
    """Both services over one catalogue.

    Attributes
    ----------
    next_answers
        Given by whichever service is asked next, instead of its own.
    asked
        Path and query of every question to a service.
    loaded
        Path of every file that was asked for.
    overrides
        Values of fields in Openverse's results, or of a file's details at Commons, by number.
    split_details
        Commons tells the details of every second file in a further answer only.
    """

    pictures: list[Picture]
    next_answers: deque[Response] = field(default_factory=deque)
    asked: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    overrides: dict[int, dict] = field(default_factory=dict)
    split_details: bool = False
    commons_page: int = 50

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/images/", self._openverse),
                Route("/w/api.php", self._commons),
                Route("/files/{number:int}.{suffix}", self._file),
                Route("/thumb/{number:int}/{width:int}px.{suffix}", self._thumbnail),
            ]
        )

    def _found(self, text: str) -> list[Picture]:
        return [
            picture for picture in self.pictures if set(text.lower().split()) & set(picture.words.split())
        ]

    def _note(self, request: Request) -> Response | None:
        self.asked.append(f"{request.url.path}?{request.url.query}")
        return self.next_answers.popleft() if self.next_answers else None

    async def _openverse(self, request: Request) -> Response:
        if (given := self._note(request)) is not None:
            return given
        query = request.query_params
        page, page_size = int(query.get("page", "1")), int(query.get("page_size", "20"))
        licences = set(query["license"].split(",")) if "license" in query else OPENVERSE_LICENCES
        if old := OLD_NAMES & set(query):
            return JSONResponse({"detail": {name: ["Parameter renamed."] for name in old}}, 400)
        if page_size > 20:
            return JSONResponse({"detail": "Ensure this value is less than or equal to 20."}, 401)
        if not 1 <= page <= 20 or len(query.get("q", "")) > 200 or licences - OPENVERSE_LICENCES:
            return JSONResponse({"detail": {"page": ["Out of range."]}}, 400)
        excluded = set(query.get("excluded_source", "").split(","))
        found = [p for p in self._found(query["q"]) if p.licence in licences and p.source not in excluded]
        shown = found[(page - 1) * page_size : page * page_size]
        return AsciiJSON(
            {
                "result_count": len(found),
                "page_count": min(20, -(-len(found) // page_size)),
                "page_size": page_size,
                "page": page,
                "results": [self._result(p, request) for p in shown if not p.is_dead],
            }
        )

    def _result(self, picture: Picture, request: Request) -> dict:
        own = {
            "id": picture.uuid,
            "title": f"Picture {picture.number}",
            "foreign_landing_url": f"https://example.org/photos/{picture.number}",
            "url": f"{request.base_url}files/{picture.number}.{picture.suffix}",
            "creator": "Zoë Müller",
            "license": picture.licence,
            "license_version": picture.version,
            "license_url": picture.licence_url,
            "provider": picture.source,
            "source": picture.source,
            "filesize": None,
            "filetype": picture.suffix,
            "attribution": f'"Picture {picture.number}" by Zoë Müller, {picture.short_name}.',
            "width": 2 * picture.size[0],
            "height": 2 * picture.size[1],
        }
        return own | self.overrides.get(picture.number, {})

    async def _commons(self, request: Request) -> Response:
        if (given := self._note(request)) is not None:
            return given
        if not request.headers.get("user-agent", "").startswith("tellapart/"):
            return PlainTextResponse("Please set a user-agent that says who you are", 403)
        query = request.query_params
        if (query.get("action"), query.get("format"), query.get("formatversion")) != ("query", "json", "2"):
            return JSONResponse({"error": {"code": "badvalue", "info": "Unrecognized value."}})
        text = query.get("gsrsearch", query.get("srsearch", ""))
        if '"' in text:
            return JSONResponse({"error": {"code": "cirrussearch-parse-error", "info": "An error."}})
        found = self._found(text.removeprefix("filetype:bitmap"))
        if query.get("list") == "search":
            return JSONResponse({"batchcomplete": True, "query": {"searchinfo": {"totalhits": len(found)}}})
        return JSONResponse(self._generated(found, query, request))

    def _generated(self, found: list[Picture], query, request: Request) -> dict:
        start = int(query.get("gsroffset", "0"))
        size = min(int(query["gsrlimit"]), self.commons_page)
        shown = found[start : start + size]
        if not shown:
            return {"batchcomplete": True}
        second_half = "iicontinue" in query
        pages = [
            self._page(picture, start + n + 1, query, request, n % 2 == 1 if second_half else n % 2 == 0)
            for n, picture in enumerate(shown)
        ]
        answer: dict = {"query": {"pages": sorted(pages, key=lambda page: -page["pageid"])}}
        following = {"gsroffset": start + size, "continue": "gsroffset||"}
        if self.split_details and not second_half:
            answer["continue"] = {"gsroffset": start, "iicontinue": "half", "continue": "||"}
        else:
            answer["batchcomplete"] = True
            if start + size < len(found):
                answer["continue"] = following
        return answer

    def _page(self, picture: Picture, index: int, query, request: Request, is_told: bool) -> dict:
        page = {
            "pageid": picture.number,
            "ns": 6,
            "title": f"File:Picture {picture.number}.{picture.suffix}",
            "index": index,
        }
        if self.split_details and not is_told:
            return page
        original = f"{request.base_url}files/{picture.number}.{picture.suffix}"
        width = int(query.get("iiurlwidth", "0"))
        thumbnail = f"{request.base_url}thumb/{picture.number}/{width}px.{picture.suffix}"
        details = {
            "LicenseShortName": picture.short_name,
            "LicenseUrl": picture.licence_url,
            "Artist": '<a href="//x.org">Zoë&nbsp;<b>Müller</b></a><p style="display: none;">Q1<br></p>',
        }
        details |= self.overrides.get(picture.number, {})
        info = {
            "url": original,
            "descriptionurl": f"https://commons.example.org/wiki/File:Picture_{picture.number}",
            "mime": MIME_TYPES[picture.suffix],
            "extmetadata": {key: {"value": value, "source": "test"} for key, value in details.items()},
        }
        if width:
            info["thumburl"] = thumbnail if width < picture.size[0] else original
        return page | {"imageinfo": [info]}

    async def _file(self, request: Request) -> Response:
        picture = self._picture(request)
        if picture is None or picture.is_dead:
            return PlainTextResponse("not found", 404)
        return Response(picture.content(), media_type=MIME_TYPES[picture.suffix])

    async def _thumbnail(self, request: Request) -> Response:
        picture, width = self._picture(request), request.path_params["width"]
        if picture is None or width not in THUMBNAIL_WIDTHS:
            return PlainTextResponse("use one of the usual widths", 400)
        return Response(picture.content(width), media_type=MIME_TYPES[picture.suffix])

    def _picture(self, request: Request) -> Picture | None:
        self.loaded.append(request.url.path)
        number = request.path_params["number"]
        return next((picture for picture in self.pictures if picture.number == number), None)
