"""The one table of what a page can ask. HTTP and Jupyter both go through it."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from tellapart.errors import ConfigError, ReadOnly
from tellapart.studio import (
    augmentations,
    browsing,
    checks,
    clusters,
    dealing,
    difference,
    examples,
    explaining,
    labelling,
    past,
    results,
    review,
    reviewers,
    runs,
    thresholds,
    trainings,
)
from tellapart.studio.desk import Desk
from tellapart.studio.operation import ONLY_READS, Arguments, Json, Operation

MODULES = (
    augmentations,
    browsing,
    checks,
    clusters,
    dealing,
    difference,
    examples,
    explaining,
    labelling,
    past,
    results,
    review,
    reviewers,
    runs,
    thresholds,
    trainings,
)


@cache
def operations() -> Mapping[str, Operation]:
    """Return every operation by its name."""
    return {name: operation for module in MODULES for name, operation in module.OPERATIONS.items()}


def perform(desk: Desk, name: str, values: Mapping[str, Any]) -> Json:
    """Carry out one operation.

    Raises
    ------
    ConfigError
        If there is no such operation, or its arguments are wrong.
    ReadOnly
        If it writes, and the desk may only be read.
    TellapartError
        Whatever the operation raises.
    """
    operation = operations().get(name)
    if operation is None:
        raise ConfigError(f"there is no operation {name!r}")
    if operation.writes and desk.read_only:
        raise ReadOnly(ONLY_READS)
    return operation.function(desk, Arguments(values))
