"""The ISIC Archive: what it has, and candidates spread over all of it.

Version 2 of its public API, as it is rather than as it is described:

- only pages of 100 are whole: shorter ones skip images that were created in the same instant;
- results come oldest first, so that the first ones are all from the same few studies. `Archive.candidates`
  therefore walks through slices by the last digits of the ids, which have nothing to do with the picture;
- a file's announced size is not its length; it serves for estimates only;
- a count comes from another index than the results and may be off by a few;
- sums over many images (facets, sizes) are no documented part of it: they are asked for, and done without;
- an image's attribution is that of the study it came with; the file itself may name somebody else;
- values of a query are case-sensitive, and a wrong one finds nothing without a word.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from itertools import combinations, islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from tellapart.errors import ConfigError, FetchError
from tellapart.sources.candidate import Candidate
from tellapart.sources.isic_plan import IMAGE_TYPES, LEVELS, LICENCES, Diagnosis, Offer, Plan
from tellapart.sources.session import Refused

if TYPE_CHECKING:
    from tellapart.sources.session import Session

API = "https://api.isic-archive.com/api/v2"

_PAGE = 100
_ID = re.compile(r"ISIC_[0-9]{7}", re.ASCII)


class Archive:
    """The archive behind one address.

    Parameters
    ----------
    session
        What asks.
    api
        Where version 2 of the API is.
    """

    def __init__(self, session: "Session", api: str = API) -> None:
        self._session = session
        self._api = api.rstrip("/") + "/"

    def count(self, query: str = "", collections: Sequence[int] = ()) -> int:
        """Return how many images a query finds: the archive's estimate, which may be off by a few.

        Raises
        ------
        FetchError
            If the archive cannot be reached, or does not understand the query.
        """
        page = self._get("images/search/", {**_search(query, collections), "limit": "1"})
        with _understood():
            return int(page["count"])

    def facets(self, query: str = "", collections: Sequence[int] = ()) -> dict[str, dict[str, int]]:
        """Return how many of a query's images have each value of each field; rare values may be missing."""
        fields = self._get("images/facets/", _search(query, collections))
        with _understood():
            return {
                str(field): {str(b["key"]): int(b["doc_count"]) for b in found["buckets"]}
                for field, found in fields.items()
            }

    def diagnoses(self, names: Sequence[str]) -> list[Diagnosis]:
        """Find classes by their names at any level; a name with commas is also tried as several names.

        Raises
        ------
        ConfigError
            If a name is not a diagnosis, comes twice, or two of them share images.
        """
        found: list[Diagnosis] = []
        for name in map(str.strip, names):
            whole = self._find(name)
            if whole is None and "," in name:
                found += [self._diagnosis(part.strip()) for part in name.split(",")]
            else:
                found.append(whole or self._diagnosis(name))
        for one, other in combinations(found, 2):
            if one == other:
                raise ConfigError(f"class {one.name!r} is given twice")
            n = 0 if one.level == other.level else self.count(f"{one.query} AND {other.query}")
            if n:
                raise ConfigError(
                    f"classes {one.name!r} and {other.name!r} share {n:,} images; "
                    "give classes that exclude each other"
                )
        return found

    def _diagnosis(self, name: str) -> Diagnosis:
        found = self._find(name)
        if found is not None:
            return found
        spellings = {value.casefold(): value for value in self._names()}
        found = self._find(spellings.get(name.casefold(), ""))
        if found is not None:
            return found
        near = get_close_matches(name.casefold(), spellings, n=5, cutoff=0.4) or [*spellings][:10]
        raise ConfigError(
            f"the archive has no diagnosis {name!r}; it has {', '.join(spellings[key] for key in near)} "
            "(give a name that has a comma in a --classes of its own)"
        )

    def _names(self) -> list[str]:
        """Return the names of diagnoses, the coarsest first; only these three where nothing better is had."""
        try:
            facets = self.facets()
        except FetchError:
            return ["Benign", "Indeterminate", "Malignant"]
        return [value for level in LEVELS for value in facets.get(level, ())]

    def _find(self, name: str) -> Diagnosis | None:
        """Return the coarsest level at which a value occurs exactly so."""
        if not name or '"' in name or "*" in name:
            return None
        return next((d for level in LEVELS if self.count((d := Diagnosis(level, name)).query)), None)

    def check(self, plan: Plan) -> None:
        """Raise for a plan that the archive cannot answer.

        Raises
        ------
        ConfigError
            For a query that it does not understand, an image type or a collection that it does not have.
        """
        try:
            self.count(plan.query)
        except Refused as exc:
            if exc.code != 400:
                raise
            raise ConfigError(
                f"the archive does not understand the query {plan.query!r}; "
                "write for example: age_approx:[20 TO 40] AND sex:female"
            ) from exc
        if plan.image_type not in (None, *IMAGE_TYPES) and (
            '"' in str(plan.image_type) or not self.count(f'image_type:"{plan.image_type}"')
        ):
            raise ConfigError(f"no image type {plan.image_type!r}; accepted: {', '.join(IMAGE_TYPES)}, any")
        for number in plan.collections:
            try:
                self._get(f"collections/{number}/")
            except Refused as exc:
                if exc.code != 404:
                    raise
                raise ConfigError(f"the archive has no public collection {number}") from exc

    def offer(self, plan: Plan, diagnosis: Diagnosis) -> Offer:
        """Say what there is of a class, without loading any image."""
        query = plan.query_for(diagnosis)
        n_images = self.count(query, plan.collections)
        return Offer(
            diagnosis, n_images, self._mean_bytes(query, plan, n_images), self._licences(query, plan)
        )

    def _licences(self, query: str, plan: Plan) -> dict[str, int]:
        try:
            return self.facets(query, plan.collections)["copyright_license"]
        except (FetchError, KeyError):
            return {
                name: self.count(f"{query} AND copyright_license:{name}", plan.collections)
                for name in plan.licences or LICENCES
            }

    def _mean_bytes(self, query: str, plan: Plan, n_images: int) -> float:
        with suppress(FetchError):
            if not plan.thumbnails:
                total = self._get("images/search/size/", _search(query, plan.collections))
                with _understood():
                    return float(total["size"]) / max(n_images, 1)
        some = list(islice(self._images(query, plan.collections), _PAGE))
        with _understood():
            return sum(float(image["files"][_file(plan)]["size"]) for image in some) / max(len(some), 1)

    def candidates(self, plan: Plan, diagnosis: Diagnosis) -> Iterator[Candidate]:
        """Yield the images of one class in an order that follows from the seed alone.

        The next page is only asked for when the images of the one before it are used up.

        Raises
        ------
        FetchError
            If the archive cannot be reached or answers with something else than what was asked for.
        """
        for image in self._spread(plan.query_for(diagnosis), plan):
            with _understood():
                candidate = _candidate(image, diagnosis, plan)
            yield candidate

    def _spread(self, query: str, plan: Plan) -> Iterator[dict[str, Any]]:
        """Yield each image that a query finds once, in an order that does not depend on when it was added.

        One slice at a time: as many last digits of the id are fixed as leaves 100 to 1,000 images to each.
        """
        n_digits = len(str(self.count(query, plan.collections) // _PAGE)) - 1
        suffixes = [f"{number:0{n_digits}d}" for number in range(10**n_digits)] if n_digits else [""]
        seen: set[str] = set()
        for suffix in sorted(suffixes, key=lambda suffix: _rank(plan.seed, suffix)):
            sliced = f"{query} AND isic_id:*{suffix}" if suffix else query
            found = {_id(image): image for image in self._images(sliced, plan.collections)}
            for isic_id in sorted(found, key=lambda isic_id: _rank(plan.seed, isic_id)):
                if isic_id not in seen:
                    seen.add(isic_id)
                    yield found[isic_id]

    def _images(self, query: str, collections: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield what a query finds, page by page, oldest first."""
        page = self._get("images/search/", {**_search(query, collections), "limit": str(_PAGE)})
        visited: set[str] = set()
        while True:
            with _understood():
                images, following = list(page["results"]), page["next"]
            yield from images
            if following is None:
                return
            if following in visited or not images:
                raise FetchError("the archive's list of images does not end; try again later")
            visited.add(following)
            page = self._get(self._same_host(following))

    def _same_host(self, url: str) -> str:
        """Return a page's address, refusing one that leads elsewhere."""
        own, other = urlsplit(self._api), urlsplit(str(url))
        if other.netloc != own.netloc:
            raise FetchError(f"the archive at {own.netloc} sends us to {other.netloc} for its next page")
        return other._replace(scheme=own.scheme).geturl()  # behind a proxy a server may not know its own

    def licence_text(self, licence: str) -> str:
        """Return the text of one of `LICENCES`, as the archive puts it beside its own downloads."""
        text = self._session.get_bytes(urljoin(self._api, f"zip-download/license-file/{licence}/"))
        return text.decode("utf-8", "replace")

    def _get(self, route: str, params: Mapping[str, str] | None = None) -> Any:
        return self._session.get_json(urljoin(self._api, route), params or None)


def _search(query: str, collections: Sequence[int]) -> dict[str, str]:
    params = {"query": query} if query else {}
    return {**params, "collections": ",".join(map(str, collections))} if collections else params


def _rank(seed: int, text: str) -> bytes:
    """Return what to sort by: an order that is random, the same everywhere, and adding nothing changes it."""
    return hashlib.blake2b(f"{seed}/{text}".encode(), digest_size=16).digest()


def _file(plan: Plan) -> str:
    return "thumbnail_256" if plan.thumbnails else "full"


def _id(image: Mapping[str, Any]) -> str:
    """Return an image's id, which becomes a file's name: nothing but what the archive's ids look like."""
    with _understood():
        isic_id = image["isic_id"]
        if not _ID.fullmatch(isic_id):
            raise ValueError(isic_id)
        return str(isic_id)


def _candidate(image: Mapping[str, Any], diagnosis: Diagnosis, plan: Plan) -> Candidate:
    acquisition, clinical = image["metadata"]["acquisition"], image["metadata"]["clinical"]
    if clinical.get(diagnosis.level) != diagnosis.name:
        # A label that is not the image's own is the one thing that no later check would find.
        raise ValueError(f"{image['isic_id']} is not {diagnosis.name}")
    licence = image["copyright_license"]
    if plan.licences and licence not in plan.licences:
        raise ValueError(f"{image['isic_id']} is under {licence}")
    facts = {**acquisition, **clinical}
    facts = {"age": facts.pop("age_approx", None), "site": facts.get("anatom_site_1"), **facts}
    return Candidate(
        id=image["isic_id"],
        url=image["files"][_file(plan)]["url"],
        label=diagnosis.name,
        licence=licence,
        licence_url=LICENCES.get(licence, ""),
        attribution=image["attribution"] or "",
        group=clinical.get("patient_id") or clinical.get("lesion_id"),
        metadata={key: _text(value) for key, value in facts.items()},
        size_px=None if plan.thumbnails else (int(acquisition["pixels_x"]), int(acquisition["pixels_y"])),
    )


def _text(value: object) -> str:
    """Return a value as a cell of the manifest: empty for none, JSON for what is neither text nor number."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@contextmanager
def _understood() -> Iterator[None]:
    """Turn an answer of another shape than the API's into one clear error."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise FetchError(
            f"the archive did not answer as version 2 of its API does ({exc!r}); check --api, or try later"
        ) from exc
