"""Deployments on a Ray cluster: Ray Serve places the replicas, restarts them and balances among them.

Without an address the cluster is our own, see `tellapart.deploy.head`.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tellapart import errors
from tellapart.deploy import head
from tellapart.deploy.connection import shortened
from tellapart.deploy.readiness import ask_ready
from tellapart.deploy.state import Record
from tellapart.deploy.target import Status
from tellapart.errors import ConfigError, DeploymentError, MissingExtra, Unreachable

ASK_LIMIT_S = 300.0
"""For an answer of the cluster, which itself allows two minutes each to start and to have replicas ready."""


def check(record: Record) -> None:
    """See `tellapart.deploy.target.Target.check`."""
    most, cpus = record.options.get("max_replicas"), record.options.get("cpus")
    if most is not None and most < record.replicas:
        raise ConfigError(
            f"max_replicas is {most}; it must be at least as many as there are always, {record.replicas}"
        )
    if cpus is not None and not (math.isfinite(cpus) and cpus > 0):
        raise ConfigError(f"cpus is {cpus:g}; it must be more than 0, such as 1 or 0.5")


def create(record: Record) -> Record:
    """See `tellapart.deploy.target.Target.create`."""
    record = replace(record, options={**record.options, "path": f"/{record.name}"})
    if "address" not in record.options or "pid" in record.options:
        record = head.join(record)
    try:
        return Record(**_ask("create", record))
    except BaseException as exc:
        ended = isinstance(exc, Unreachable) and _has_ended(record)
        head.leave(record)
        if ended:
            raise DeploymentError(f"no Ray cluster could be started here; see {head.log_file()}") from exc
        raise


def scale(record: Record) -> Record:
    """See `tellapart.deploy.target.Target.scale`."""
    return update(record)


def update(record: Record) -> Record:
    """See `tellapart.deploy.target.Target.update`."""
    _ask("update", record)
    return record


def rekey(record: Record) -> None:
    """See `tellapart.deploy.target.Target.rekey`; Ray tells the replicas, which go on running."""
    if not _has_ended(record):  # otherwise they are read at its next start
        _ask("rekey", record)


def delete(record: Record) -> None:
    """See `tellapart.deploy.target.Target.delete`."""
    if not _has_ended(record):
        _ask("delete", record)
    head.leave(record)


def statuses(records: Sequence[Record]) -> list[Status]:
    """See `tellapart.deploy.target.Target.statuses`; each cluster is asked once."""
    heard: dict[str, dict[str, Any] | Status] = {}
    return [_status(record, heard) for record in records]


def log_file(record: Record) -> Path:
    """See `tellapart.deploy.target.Target.log_file`."""
    if "address" in record.options and head.process_of(record) is None:
        raise DeploymentError(
            f"the cluster {record.options['address']} keeps what its replicas print on their nodes, in "
            "/tmp/ray/session_latest/logs if its owner has not said otherwise"
        )
    return record.log_file


def _has_ended(record: Record) -> bool:
    """Say whether nothing of it can run, because its cluster has ended or never began."""
    if "address" not in record.options:
        return True
    own = head.process_of(record)
    return own is not None and not own.is_alive


def _status(record: Record, heard: dict[str, dict[str, Any] | Status]) -> Status:
    """Say how one is; `heard` is what each cluster has said so far."""
    again = f"`tellapart deploy start {record.name}` starts it again"
    if _has_ended(record):
        return Status("gone", f"its Ray cluster has ended; {again}")
    if ask_ready(record.url)[0] == 200:  # to ask the cluster takes seconds
        return Status("ready")
    address = record.options["address"]
    if address not in heard:
        heard[address] = _applications(record)
    said = heard[address]
    if isinstance(said, Status):
        return said
    found = said.get(record.name)
    if found is None:
        return Status("gone", f"the cluster does not run it any more; {again}")
    if found["status"] == "RUNNING":
        # Its proxies may be reached from other machines only.
        return Status("ready")
    return Status("not ready", f"Ray says {found['status']}: {found['message'] or 'no reason'}")


def _applications(record: Record) -> dict[str, Any] | Status:
    """Return what the record's cluster says of each application, or why it says nothing."""
    try:
        return _ask("applications", record)
    except (Unreachable, MissingExtra) as exc:
        return Status("unreachable", str(exc))


def _ask(verb: str, record: Record) -> dict[str, Any]:
    """Ask the cluster in a process of its own; see `tellapart.deploy.cluster`."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tellapart.deploy.cluster", verb],
            input=json.dumps(asdict(record)),
            env={**os.environ, **head.environment(record.options)},
            capture_output=True,
            text=True,
            timeout=ASK_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        address = record.options["address"]
        raise Unreachable(f"the Ray cluster {address} gave no answer in {ASK_LIMIT_S:g} s") from None
    if done.returncode:
        raise DeploymentError(f"Ray failed: {shortened(done.stderr)}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "error" in answer:
        raise getattr(errors, answer["error"])(answer["message"])
    return answer
