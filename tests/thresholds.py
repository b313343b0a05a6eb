"""A run whose threshold is chosen, as the page does it."""

import pytest

from desks import ask, desk_on
from doubtful import doubtful_run


@pytest.fixture
def doubtful_lesions(trained, tmp_path):
    return doubtful_run(trained.folder, tmp_path / "runs" / "lesions")


@pytest.fixture
def doubtful_desk(photos, doubtful_lesions):
    return desk_on(photos, runs=doubtful_lesions.parent)


def use(desk, method="hand", **values):
    """Choose a threshold as the page does, and return what it is told."""
    seen = ask(desk, "threshold", run="lesions")["in_use"]["value"]
    return ask(
        desk,
        "use_threshold",
        run="lesions",
        method=method,
        seen=seen,
        **{"why": "misses cost more", **values},
    )
