"""Deployments on this machine: a supervisor and its workers, detached from whoever started them.

A deployment's folder holds all there is to one: ``settings.json`` and ``state.json`` (see
`tellapart.deploy.service`), ``service.log``, ``keys.json``, and the copies of the model.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tellapart.data.files import write_atomically
from tellapart.deploy.readiness import ask_ready
from tellapart.deploy.service import PROCESS_FILE, SETTINGS_FILE, STATE_FILE
from tellapart.deploy.state import Record, Registry
from tellapart.deploy.target import Status, service_settings
from tellapart.errors import ConfigError, DeploymentError, PortTaken, ServiceError
from tellapart.process import Process, launch
from tellapart.serving.listener import bind

START_LIMIT_S = 60.0
"""For a service to become ready; a large model on a busy machine takes some seconds."""

CHANGE_LIMIT_S = 60.0
"""For every worker to serve another model, or for as many as are wanted to be ready."""

STOP_EXTRA_S = 5.0
"""On top of what the service itself allows for its end, before it is killed."""

_children: list[subprocess.Popen[bytes]] = []
"""Started by this very process, which alone can collect them when they end."""


def check(record: Record) -> None:
    """See `tellapart.deploy.target.Target.check`."""
    try:
        bind(record.host, 0).close()
    except ServiceError as exc:
        raise ConfigError(
            f"{record.host} is no address of this machine to listen on; try --host 127.0.0.1, or "
            "--host 0.0.0.0 for all that it has"
        ) from exc


def create(record: Record) -> Record:
    """See `tellapart.deploy.target.Target.create`."""
    if not _becomes_free(record):
        raise PortTaken(
            f"port {record.port} of {record.host} is taken by another program; "
            "end that one, or name another port with --port"
        )
    _write_settings(record)
    for stale in (STATE_FILE, PROCESS_FILE):
        (record.folder / stale).unlink(missing_ok=True)
    # From here on the service's own file says which process it is: we may be killed before we write it down.
    record = Registry().save(replace(record, pid=None, started=None))
    child = _start(record)
    try:
        process = Process.of(child.pid)
        if process is not None:
            record = Registry().save(replace(record, pid=process.pid, started=process.started))
        _wait_for(record, lambda: child.poll() is None, START_LIMIT_S)
    except BaseException as exc:
        _end(child)
        if isinstance(exc, DeploymentError) and not is_free(record.host, record.port):
            raise PortTaken(str(exc)) from exc
        raise
    return record


def scale(record: Record) -> Record:
    """See `tellapart.deploy.target.Target.scale`."""
    return _change(record)


def update(record: Record) -> Record:
    """See `tellapart.deploy.target.Target.update`."""
    return _change(record)


def rekey(record: Record) -> None:
    """See `tellapart.deploy.target.Target.rekey`; a service looks at its file of keys by itself."""


def delete(record: Record) -> None:
    """See `tellapart.deploy.target.Target.delete`."""
    process = _process(record)
    if process is None:
        return
    settings = service_settings(record)
    process.signal(signal.SIGTERM)
    if not process.wait(settings.drain_s + settings.request_timeout_s + STOP_EXTRA_S):
        process.kill_group()
        process.wait(STOP_EXTRA_S)
    _collect()


def statuses(records: Sequence[Record]) -> list[Status]:
    """See `tellapart.deploy.target.Target.statuses`."""
    return [status(record) for record in records]


def status(record: Record) -> Status:
    """Say how one is."""
    process = _process(record)
    again = f"`tellapart deploy start {record.name}` starts it again"
    if process is None or not process.is_alive:
        if is_free(record.host, record.port):
            return Status("gone", f"its process has ended; {again}")
        if process is not None and process.has_workers:
            return Status("gone", f"its process has ended and its workers are about to; {again}")
        taken = f"port {record.port} is taken by another program"
        return Status("gone", f"its process has ended and {taken}; end that one, then {again}")
    code, detail = ask_ready(record.url)
    if code == 200:
        return Status("ready")
    return Status("not ready", f"{detail}; see `tellapart deploy logs {record.name}`")


def log_file(record: Record) -> Path:
    """See `tellapart.deploy.target.Target.log_file`."""
    return record.log_file


def is_free(host: str, port: int) -> bool:
    """Say whether a service could listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections that ended a moment ago do not make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _becomes_free(record: Record) -> bool:
    """Say whether the port is free; workers whose supervisor was killed keep it for a moment."""
    was_ours = record.pid is not None
    deadline = time.monotonic() + (service_settings(record).drain_s + STOP_EXTRA_S if was_ours else 0)
    while not (free := is_free(record.host, record.port)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return free


def _write_settings(record: Record) -> None:
    write_atomically(record.folder / SETTINGS_FILE, service_settings(record).to_json().encode())


def _state_file(record: Record) -> Path:
    return record.folder / STATE_FILE


def _start(record: Record) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tellapart.deploy.service", str(record.folder)]
    child = launch(command, record.log_file, folder=record.folder)
    _collect()
    _children.append(child)
    return child


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(timeout=STOP_EXTRA_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _collect() -> None:
    _children[:] = [child for child in _children if child.poll() is None]


def _change(record: Record) -> Record:
    """Have the supervisor read other settings, and wait until every worker has them."""
    process = _process(record)
    if process is None or not process.is_alive:
        raise DeploymentError(f"the deployment {record.name!r} is gone: {status(record).detail}")
    before = (record.folder / SETTINGS_FILE).read_bytes()
    _state_file(record).unlink(missing_ok=True)
    _write_settings(record)
    process.signal(signal.SIGHUP)
    try:
        _wait_for(record, lambda: process.is_alive, CHANGE_LIMIT_S)
    except BaseException:
        # Whatever was under way is given up.
        write_atomically(record.folder / SETTINGS_FILE, before)
        process.signal(signal.SIGHUP)
        raise
    return record


def _wait_for(record: Record, is_alive: Callable[[], bool], limit_s: float) -> None:
    """Wait until the process says that it serves what was asked for.

    Raises
    ------
    DeploymentError
        With its reason, if it does not.
    """
    wanted = (record.folder / SETTINGS_FILE).read_text(encoding="utf-8")
    deadline = time.monotonic() + limit_s
    while True:
        alive = is_alive()  # before its last words are read, or they could be missed
        state = _read_state(record)
        if state is not None and state["settings"] == wanted:
            if state["reason"] is None:
                return
            raise DeploymentError(f"{record.name}: {state['reason']}")
        if not alive:
            raise DeploymentError(f"{record.name} ended: {_last_words(record)}")
        if time.monotonic() > deadline:
            raise DeploymentError(f"{record.name} is not ready after {limit_s:g} s: {_last_words(record)}")
        time.sleep(0.05)


def _read_state(record: Record) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads(_state_file(record).read_bytes())
    except FileNotFoundError:
        return None
    return state


def _process(record: Record) -> Process | None:
    _collect()
    if record.pid is not None and record.started is not None:
        return Process(record.pid, record.started)
    try:
        return Process(**json.loads((record.folder / PROCESS_FILE).read_bytes()))
    except FileNotFoundError:
        return None


def _last_words(record: Record) -> str:
    lines = record.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")
