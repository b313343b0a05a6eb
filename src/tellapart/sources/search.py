"""Image search: the one interface of the services that find images, and what they find, class by class."""

import hashlib
import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tellapart.data.scan import images_below
from tellapart.errors import FetchError
from tellapart.sources.answers import one_line, web_address
from tellapart.sources.candidate import Candidate
from tellapart.sources.network import Unavailable
from tellapart.sources.queries import Query


class Source(Protocol):
    """A service that finds images by a text.

    Attributes
    ----------
    name
        As the command line calls it.
    passed_over
        How many images were found and not offered, by the reason.
    """

    name: str
    passed_over: Counter[str]

    def count(self, text: str) -> int:
        """Return about how many images the service has for a text; it may offer fewer."""
        ...

    def find(self, text: str, label: str) -> Iterator[Candidate]:
        """Offer images for a text, the best match first, asking the service only as they are taken.

        Raises
        ------
        FetchError
            If the service does not answer, or answers with something else than a list of images.
        """
        ...


class Search:
    """Offers images class by class, and none under two classes.

    A service that fails ends nothing: the others go on, and so does what is being loaded meanwhile.

    Parameters
    ----------
    sources
        The services that texts are searched in.
    label_of
        Image id -> class of what is there already, from an earlier call for the same folder.

    Attributes
    ----------
    failures
        What services did not answer, and why, in words.
    """

    def __init__(self, sources: Sequence[Source], label_of: Mapping[str, str] | None = None) -> None:
        self._sources = sources
        self._label_of = dict(label_of or {})
        self._passed_over: Counter[str] = Counter()
        self._unavailable: set[str] = set()
        self.failures: list[str] = []

    def candidates(self, label: str, queries: Iterable[Query]) -> Iterator[Candidate]:
        """Offer images of one class, from each query and source in turn: none crowds out the others."""
        offered: set[str] = set()
        for candidate in _in_turn([stream for query in queries for stream in self._streams(query, label)]):
            if self._label_of.setdefault(candidate.id, label) != label:
                self._passed_over["found for another class too"] += 1
            elif candidate.id not in offered:
                offered.add(candidate.id)
                yield candidate

    @property
    def passed_over(self) -> dict[str, int]:
        """How many images were found and not offered, by the reason; most frequent first."""
        total = sum((source.passed_over for source in self._sources), self._passed_over.copy())
        return dict(total.most_common())

    def _streams(self, query: Query, label: str) -> Iterator[Iterator[Candidate]]:
        if query.kind == "text":
            yield from (self._found(source, query.text, label) for source in self._sources)
        elif query.folder is not None:
            yield _in_folder(query, query.folder, label)
        else:
            yield iter([_at_address(query.text, label)])

    def _found(self, source: Source, text: str, label: str) -> Iterator[Candidate]:
        if source.name in self._unavailable:
            return
        try:
            yield from source.find(text, label)
        except FetchError as exc:
            if isinstance(exc, Unavailable):  # it has been asked often enough
                self._unavailable.add(source.name)
            self.failures.append(f"{source.name} gave up on {text!r}: {exc}")


def _at_address(text: str, label: str) -> Candidate:
    url = web_address(text) or text  # what else it is, the session refuses
    return Candidate(f"web_{_digest(url)}", url, label, metadata={"service": "web", "query": text})


def _in_folder(query: Query, folder: Path, label: str) -> Iterator[Candidate]:
    for path in images_below(folder):
        url = path.resolve().as_uri()
        metadata = {"service": "folder", "query": query.text, "title": one_line(path.stem)}
        yield Candidate(f"folder_{_digest(url)}", url, label, metadata=metadata)


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:20]


def _in_turn(streams: Iterable[Iterator[Candidate]]) -> Iterator[Candidate]:
    """Yield the first of every stream, then the second of every stream, and so on."""
    waiting = deque(streams)
    while waiting:
        stream = waiting.popleft()
        for candidate in itertools.islice(stream, 1):
            yield candidate
            waiting.append(stream)
