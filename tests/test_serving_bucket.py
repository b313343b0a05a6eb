"""How often one key may ask."""

import pytest

from tellapart.serving import bucket
from tellapart.serving.bucket import Bucket


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set: a list of one time, in seconds."""
    now_s = [100.0]
    monkeypatch.setattr(bucket.time, "monotonic", lambda: now_s[0])
    return now_s


def test_one_seconds_worth_may_come_at_once_and_then_one_at_a_time(clock):
    requests = Bucket(4)
    assert [requests.take() for _ in range(5)] == [0, 0, 0, 0, 0.25]
    clock[0] += 0.25
    assert requests.take() == 0
    assert requests.take() == 0.25


def test_a_long_rest_saves_up_no_more_than_one_seconds_worth(clock):
    requests = Bucket(2)
    clock[0] += 3600
    assert [requests.take() > 0 for _ in range(3)] == [False, False, True]


def test_less_than_one_a_second_is_a_rate_too(clock):
    requests = Bucket(0.1)
    assert requests.take() == 0
    assert requests.take() == pytest.approx(10)
