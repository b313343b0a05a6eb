"""The queue of candidates: the order of preference, and a limit on those that are alike."""

from itertools import count

import pytest

from tellapart.sources.candidate import Candidate
from tellapart.sources.queue import Queue


def of(*lesions):
    """Candidates 0, 1 and on, each of the lesion given; None for one without."""
    return [
        Candidate(str(number), "", "ant", metadata={"lesion": lesion} if lesion is not None else {})
        for number, lesion in enumerate(lesions)
    ]


def taken(queue):
    """All that the queue gives now."""
    found = []
    while (candidate := queue.take()) is not None:
        found.append(candidate.id)
    return found


def test_without_a_limit_candidates_come_in_their_order():
    assert taken(Queue(iter(of("a", "a", None, "b", "a")))) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(("most", "ids"), [(1, ["0", "2", "3", "5"]), (2, ["0", "1", "2", "3", "5"])])
def test_only_so_many_are_alike_and_those_without_a_value_never_are(most, ids):
    assert taken(Queue(iter(of("a", "a", None, "b", "a", "")), (most, "lesion"))) == ids


def test_one_that_cannot_be_had_is_replaced_by_one_like_it():
    candidates = of("a", "a", "b", "a")
    queue = Queue(iter(candidates), (1, "lesion"))
    assert taken(queue) == ["0", "2"]
    queue.give_up(candidates[0])
    assert taken(queue) == ["1"]
    queue.give_up(candidates[1])
    assert taken(queue) == ["3"]
    queue.give_up(candidates[3])
    assert taken(queue) == []


def test_what_was_taken_before_counts():
    candidates = of("a", "a", "b")
    queue = Queue(iter(candidates[1:]), (1, "lesion"), candidates[:1])
    assert taken(queue) == ["2"]


def test_candidates_are_read_only_as_they_are_taken():
    read = []
    queue = Queue(read.append(number) or of(None)[0] for number in count())
    queue.take()
    assert read == [0]
