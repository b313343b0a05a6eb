"""Deployments on a Ray cluster: Ray Serve places the replicas, restarts them and balances among them.

Without an address a cluster of one node is started on this machine, bound to loopback, with a token that
only this user can read; it ends with the last deployment on it.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tellapart import errors
from tellapart.deploy.state import Record, data_folder
from tellapart.deploy.target import Status
from tellapart.errors import DeploymentError, MissingExtra
from tellapart.process import Process

START_LIMIT_S = 120.0
"""For a cluster of our own to start."""

ASK_LIMIT_S = 300.0
"""For an answer of the cluster, which itself allows two minutes for replicas to be ready."""


def create(record: Record) -> Record:
    """See `tellapart.deploy.target.Target.create`."""
    if "address" not in record.options or "pid" in record.options:
        record = _with_own_cluster(record)
    try:
        return Record(**_ask("create", record))
    except BaseException:
        _end_unused_cluster(record)
        raise


def scale(record: Record) -> Record:
    """See `tellapart.deploy.target.Target.scale`."""
    return update(record)


def update(record: Record) -> Record:
    """See `tellapart.deploy.target.Target.update`."""
    return Record(**_ask("update", record))


def rekey(record: Record) -> None:
    """See `tellapart.deploy.target.Target.rekey`; Ray tells the replicas, which go on running."""
    update(record)


def delete(record: Record) -> None:
    """See `tellapart.deploy.target.Target.delete`."""
    if status(record).state != "gone":
        _ask("delete", record)
    _end_unused_cluster(record)


def status(record: Record) -> Status:
    """See `tellapart.deploy.target.Target.status`."""
    again = f"`tellapart deploy start {record.name}` starts it again"
    own = _own_cluster(record)
    if own is not None and not own.is_alive:
        return Status("gone", f"its Ray cluster has ended; {again}")
    try:
        found = _ask("status", record)
    except DeploymentError as exc:
        return Status("unreachable" if own is None else "not ready", str(exc))
    if found["status"] is None:
        return Status("gone", f"the cluster does not run it any more; {again}")
    if found["status"] == "RUNNING":
        return Status("ready")
    return Status("not ready", f"Ray says {found['status']}: {found['message'] or 'no reason'}")


def log_file(record: Record) -> Path:
    """See `tellapart.deploy.target.Target.log_file`."""
    if _own_cluster(record) is None:
        raise DeploymentError(
            f"the cluster {record.options['address']} keeps what its replicas print on their nodes, in "
            "/tmp/ray/session_latest/logs if its owner has not said otherwise"
        )
    return record.log_file


def _ask(verb: str, record: Record) -> dict[str, Any]:
    """Ask the cluster in a process of its own; see `tellapart.deploy.cluster`."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tellapart.deploy.cluster", verb],
            input=json.dumps(asdict(record)),
            env={**os.environ, **_environment(record)},
            capture_output=True,
            text=True,
            timeout=ASK_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        address = record.options["address"]
        raise DeploymentError(f"the Ray cluster {address} gave no answer in {ASK_LIMIT_S:g} s") from None
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if line.strip()]
        raise DeploymentError(f"Ray failed: {words[-1] if words else 'it said nothing'}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "error" in answer:
        raise getattr(errors, answer["error"])(answer["message"])
    return answer


def _environment(record: Record) -> dict[str, str]:
    """Return what makes Ray ask for our token on a cluster of our own; others are left as they are."""
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    token = record.options.get("token_file")
    return quiet if token is None else {**quiet, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token}


def _with_own_cluster(record: Record) -> Record:
    """Return the record with a cluster on this machine, started if there is none of ours yet."""
    state = data_folder() / "ray.json"
    if state.is_file():
        options = json.loads(state.read_bytes())
        if Process(options["pid"], options["started"]).is_alive:
            return replace(record, options={**record.options, **options})
    token = data_folder() / "ray.token"
    token.unlink(missing_ok=True)
    with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    options = {"address": f"127.0.0.1:{_free_port()}", "token_file": str(token)}
    process = _start_head(replace(record, options=options))
    options |= {"pid": process.pid, "started": process.started}
    state.write_text(json.dumps(options))
    return replace(record, options={**record.options, **options})


def _free_port() -> int:
    """Return a port that is free: Ray's usual one may be another cluster's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start_head(record: Record) -> Process:
    port = record.options["address"].rpartition(":")[2]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += ["--node-ip-address=127.0.0.1", f"--port={port}", "--include-dashboard=false"]
    with (data_folder() / "ray.log").open("wb") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **_environment(record)},
            start_new_session=True,
        )
    deadline = time.monotonic() + START_LIMIT_S
    while child.poll() is None and time.monotonic() < deadline:
        process = Process.of(child.pid)
        try:
            _ask("ping", record)
            if process is not None:
                return process
        except MissingExtra:
            child.kill()
            raise
        except DeploymentError:
            time.sleep(0.5)
    child.terminate()
    raise DeploymentError(f"no Ray cluster could be started here; see {data_folder() / 'ray.log'}")


def _own_cluster(record: Record) -> Process | None:
    options = record.options
    return Process(options["pid"], options["started"]) if "pid" in options else None


def _end_unused_cluster(record: Record) -> None:
    """End the cluster that we started, unless another deployment runs on it."""
    own = _own_cluster(record)
    if own is None or (own.is_alive and _ask("status", record)["others"]):
        return
    own.signal(signal.SIGTERM)
    if not own.wait(45):
        own.kill_group()
    (data_folder() / "ray.json").unlink(missing_ok=True)
