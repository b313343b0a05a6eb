"""A queue: the candidates of one class in the order of preference, not too many alike at a time."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator

from tellapart.sources.candidate import Candidate


class Queue:
    """Candidates in their order; those of which enough are taken wait until one of these is given up.

    Parameters
    ----------
    candidates
        Read lazily.
    at_most
        How many images may share one value of a column of their metadata, and the column:
        ``(1, "lesion_id")``. Those that have no value there are never too many. None for no such limit.
    taken
        What was taken before, and counts.

    Examples
    --------
    >>> one, two = (Candidate(id, "", "ant", metadata={"nest": "n1"}) for id in ("one", "two"))
    >>> queue = Queue(iter([one, two]), (1, "nest"))
    >>> queue.take().id, queue.take()
    ('one', None)
    >>> queue.give_up(one)
    >>> queue.take().id
    'two'
    """

    def __init__(
        self,
        candidates: Iterator[Candidate],
        at_most: tuple[int, str] | None = None,
        taken: Iterable[Candidate] = (),
    ) -> None:
        self._candidates = candidates
        self._most, self._column = at_most or (0, "")
        self._n_taken = Counter(map(self._value, taken))
        self._waiting: defaultdict[str, list[Candidate]] = defaultdict(list)
        self._again: deque[Candidate] = deque()

    def take(self) -> Candidate | None:
        """Return the next candidate; None if there is none now."""
        while (candidate := self._next()) is not None:
            value = self._value(candidate)
            if not value or self._n_taken[value] < self._most:
                self._n_taken[value] += 1
                return candidate
            self._waiting[value].append(candidate)
        return None

    def give_up(self, candidate: Candidate) -> None:
        """Free the place of one that could not be had: one like it may have it."""
        value = self._value(candidate)
        self._n_taken[value] -= 1
        self._again += self._waiting.pop(value, [])

    def _next(self) -> Candidate | None:
        return self._again.popleft() if self._again else next(self._candidates, None)

    def _value(self, candidate: Candidate) -> str:
        return candidate.metadata.get(self._column, "")
