"""A cluster of our own: one node on this machine, for this user's deployments that name no other cluster.

Ray's own ports cannot be kept to loopback, but ask for a token that only this user can read. It begins with
the first deployment on it and ends with the last. Which deployments are on it, the registry says: they are
written down before they start. Whoever begins or ends a cluster holds a lock meanwhile, so that two never
begin, and none ends under a deployment that is just coming.
"""

import fcntl
import json
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tellapart.deploy.state import Record, Registry, data_folder
from tellapart.errors import DeploymentError
from tellapart.process import Process, launch

END_LIMIT_S = 15.0
"""For the cluster's processes to be gone."""

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

KEEN = {"RAY_worker_niceness": "0"}
"""By default whatever else runs on the machine goes before Ray's workers, here those that answer."""


def join(record: Record) -> Record:
    """Return the record, written down with the cluster's address; start the cluster if there is none.

    One that was just started does not answer yet.
    """
    with _locked():
        cluster = _running() or _start()
        return Registry().save(replace(record, options={**record.options, **cluster}))


def leave(record: Record) -> None:
    """End a deployment's cluster, unless it is another's or other deployments are on it."""
    process = process_of(record)
    if process is None:
        return
    with _locked():
        others = (other for other in Registry().all() if other.name != record.name)
        if any(process_of(other) == process for other in others):
            return
        process.kill_group()  # Ray needs half a minute to end by itself, and nothing is left to finish
        process.wait(END_LIMIT_S)
        if _written() == process:  # and not a later cluster, which others use
            _file().unlink()


def process_of(record: Record) -> Process | None:
    """Return the first process of the deployment's cluster; None if the cluster is not ours."""
    options = record.options
    return Process(options["pid"], options["started"]) if "pid" in options else None


def environment(options: Mapping[str, Any]) -> dict[str, str]:
    """Return what makes Ray ask for our token on a cluster of our own; others are left as they are."""
    token = options.get("token_file")
    return QUIET if token is None else {**QUIET, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token}


def log_file() -> Path:
    """Return where Ray says why it did not start."""
    return data_folder() / "ray.log"


def _running() -> dict[str, Any] | None:
    process = _written()
    if process is None or not process.is_alive:
        return None
    options: dict[str, Any] = json.loads(_file().read_bytes())
    return options


def _written() -> Process | None:
    try:
        options = json.loads(_file().read_bytes())
    except FileNotFoundError:
        return None
    return Process(options["pid"], options["started"])


def _start() -> dict[str, Any]:
    token = data_folder() / "ray.token"
    token.unlink(missing_ok=True)
    with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    port = _free_port()
    options: dict[str, Any] = {"address": f"127.0.0.1:{port}", "token_file": str(token)}
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += ["--node-ip-address=127.0.0.1", f"--port={port}", f"--ray-client-server-port={_free_port()}"]
    # Nobody here asks for its dashboard or its logs, or would have it add machines.
    command += ["--include-dashboard=false", "--include-log-monitor=false", "--no-monitor"]
    log_file().unlink(missing_ok=True)
    process = Process.of(launch(command, log_file(), environment=environment(options) | KEEN).pid)
    if process is None:
        raise DeploymentError(f"no Ray cluster could be started here; see {log_file()}")
    options |= {"pid": process.pid, "started": process.started}
    # Written down at once: if we are killed while it starts, the next deployment finds it.
    _file().write_text(json.dumps(options))
    return options


def _free_port() -> int:
    """Return a port that is free: Ray's usual ones may be another cluster's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _file() -> Path:
    return data_folder() / "ray.json"


@contextmanager
def _locked() -> Iterator[None]:
    with (data_folder() / "ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
