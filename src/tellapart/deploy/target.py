"""What a deployment asks of the place that runs it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast

from tellapart.deploy.state import Record
from tellapart.errors import ConfigError
from tellapart.serving.settings import Settings

TARGETS = {"local": "tellapart.deploy.local", "ray": "tellapart.deploy.ray"}
"""The modules that are targets; imported when one is asked for."""

OPTIONS = {"local": (), "ray": ("address", "max_replicas", "cpus")}
"""What only that target understands: the cluster's address, up to how many replicas it may scale by
itself, and how many cores each reserves."""


@dataclass(frozen=True)
class Status:
    """How a deployment is, asked just now.

    Attributes
    ----------
    state
        ``"ready"``; ``"not ready"`` (its process lives and does not answer); ``"gone"`` (the record is
        stale: nothing of it runs); ``"unreachable"`` (the cluster that may run it does not answer).
    detail
        Why, and what to type next; empty when ready.
    """

    state: Literal["ready", "not ready", "gone", "unreachable"]
    detail: str = ""


class Target(Protocol):
    """A module that runs deployments.

    Every function takes the record as it should be, and returns it as it became. What the service is
    told is in `service_settings`.
    """

    def check(self, record: Record) -> None:
        """Refuse what this target cannot do, before anything is started or stopped.

        Raises
        ------
        ConfigError
            With what is wrong.
        """

    def create(self, record: Record) -> Record:
        """Start the service and return when it is ready; leave nothing running if that fails."""

    def scale(self, record: Record) -> Record:
        """Run ``record.replicas`` of it, without a failed request; go on as before if that fails."""

    def update(self, record: Record) -> Record:
        """Serve ``record.copy`` instead, without a failed request; go on as before if that fails."""

    def rekey(self, record: Record) -> None:
        """Accept the keys that are in ``record.keys_file`` now, and no others."""

    def delete(self, record: Record) -> None:
        """Let requests in flight finish, then stop it; nothing to do if it is gone.

        Raises
        ------
        Unreachable, MissingExtra
            If that cannot be known.
        """

    def statuses(self, records: Sequence[Record]) -> list[Status]:
        """Say how each is; never believe the record."""

    def log_file(self, record: Record) -> Path:
        """Return where its processes print; it may not be there yet."""


def target_of(name: str) -> Target:
    """Return the target of that name.

    Raises
    ------
    ConfigError
        If there is none.
    """
    if name not in TARGETS:
        raise ConfigError(f"no target {name!r}; there are: {', '.join(TARGETS)}")
    return cast(Target, import_module(TARGETS[name]))


def check(record: Record) -> None:
    """Refuse what the target, or the service, would.

    Raises
    ------
    ConfigError
        With what is wrong.
    """
    if record.replicas < 1:
        raise ConfigError(
            f"replicas is {record.replicas}; it must be at least 1; `tellapart deploy delete` stops all"
        )
    service_settings(record)
    target_of(record.target).check(record)


def service_settings(record: Record) -> Settings:
    """Return what the service of a deployment is told.

    Raises
    ------
    ConfigError
        If a setting cannot be used.
    """
    values = {
        **record.settings,
        "models": {record.name: record.copy},
        "host": record.host,
        "port": record.port,
        "workers": record.replicas,
        "keys_file": str(record.keys_file) if record.auth else None,
    }
    return Settings.from_json(json.dumps(values))
