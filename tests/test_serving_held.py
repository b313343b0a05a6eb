"""All requests together hold so many bytes and no more; what one held is free when it is over."""

import pytest

from tellapart.serving.held import Held, Share
from tellapart.serving.problems import Problem


def test_requests_share_what_there_is():
    held = Held(100)
    first, second = Share(held), Share(held)
    first.add(60)
    with pytest.raises(Problem) as refused:
        second.add(60)
    second.end()

    assert refused.value.status == 503
    assert held.n_bytes == 60
    Share(held).add(40)


def test_a_thread_that_reads_on_for_a_request_that_is_over_is_stopped_and_counts_nothing():
    held = Held(100)
    share = Share(held)
    share.add(60)
    share.end()

    with pytest.raises(Problem):
        share.add(10)
    assert held.n_bytes == 0
