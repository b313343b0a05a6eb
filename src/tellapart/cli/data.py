"""How commands read DATA."""

from collections.abc import Sequence
from pathlib import Path

from tellapart.cli.label import show_corrections
from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError


def load_data(data: Path, merge: Sequence[str] = ()) -> Dataset:
    """Load DATA and join classes as ``NEW=OLD,OLD`` says."""
    dataset = Dataset.load(data)
    if dataset.corrections is not None:
        show_corrections(dataset.corrections)
    return dataset.merged(merge_rules(merge)) if merge else dataset


def merge_rules(merge: Sequence[str]) -> dict[str, list[str]]:
    """Read ``NEW=OLD,OLD`` rules.

    Raises
    ------
    ConfigError
        If one is not understood.
    """
    classes: dict[str, list[str]] = {}
    for rule in merge:
        new, equals, olds = rule.partition("=")
        if not (new and equals and olds):
            raise ConfigError(f"--merge {rule!r} is not understood; write NEW=OLD,OLD")
        classes.setdefault(new, []).extend(olds.split(","))
    return classes
