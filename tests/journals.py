"""A label journal and what tests write into it."""

import pytest

from tellapart.data.journal import Journal
from tellapart.data.label_events import Change


@pytest.fixture
def journal(tmp_path) -> Journal:
    return Journal(tmp_path / "deep" / "labels.sqlite")


def relabel(sample_id: str, old: str, new: str, given: str = "cat", **more) -> Change:
    return Change(sample_id, "label", old, new, given, sha256="5a" * 32, **more)
