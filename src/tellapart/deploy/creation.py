"""How a deployment comes to be: name, port, copy of the model and key are claimed before anything starts."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from dataclasses import replace as replaced
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tellapart.bundle import Bundle
from tellapart.deploy import local
from tellapart.deploy.deployment import Deployment
from tellapart.deploy.state import Record, Registry, checked_name
from tellapart.deploy.target import OPTIONS, check, target_of
from tellapart.deploy.versions import Versions, usable
from tellapart.errors import ConfigError, DeploymentError, PortTaken, TellapartError
from tellapart.process import this_user

PORT_TRIES = 3
"""How often a port is chosen, where none was asked for, that another program then takes first."""


def deploy(
    model: Path | str,
    name: str,
    *,
    target: str = "local",
    replicas: int = 1,
    port: int | None = None,
    replace: bool = False,
    auth: bool = True,
    **settings: Any,
) -> Deployment:
    """Serve a model under a name, until `Deployment.delete`.

    Parameters
    ----------
    model
        A bundle or a run folder; it is copied.
    name
        Lower-case letters, digits and hyphens.
    target
        ``"local"``: processes on this machine. ``"ray"``: replicas on a Ray cluster.
    replicas
        Worker processes, or replicas.
    port
        By default one that is free, from 8000 up.
    replace
        Take the place, and the port, of a deployment of that name, which is deleted once the new one is
        ready; if that does not start, it goes on as it was.
    auth
        Ask for keys. Without, only this machine can reach it.
    settings
        Further fields of `tellapart.serving.settings.Settings`, such as ``host`` or ``url_scoring``; for
        Ray also ``address`` of the cluster, ``max_replicas`` and ``cpus`` of each; there ``rate_per_s``
        holds for each replica.

    Returns
    -------
    Deployment
        Ready to answer. Its `key` is shown here and never again.

    Raises
    ------
    DeploymentError
        If the name exists, the port is taken or the service does not start.
    BundleError
        If the model cannot be used.
    """
    checked_name(name)
    target_of(target)  # refuses what there is not
    options = {option: settings.pop(option) for option in OPTIONS[target] if option in settings}
    if port is not None:
        options["port"] = port
    _check_settings(settings, OPTIONS[target])
    bundle = usable(model, settings.get("precision"))
    record = Record(
        name=name,
        target=target,
        model=str(Path(model).absolute()),
        copy=str(bundle.folder),
        version=bundle.version,
        host=settings.pop("host", "127.0.0.1"),
        port=port or 0,
        replicas=replicas,
        auth=auth,
        settings=settings,
        options=options,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        owner=this_user(),
    )
    check(record)  # before anything is replaced
    if not replace:
        return _created(record, bundle)
    with _replacing(record) as replacing:
        return _created(replacing, bundle)


def _created(record: Record, bundle: Bundle) -> Deployment:
    """Make a deployment at its port, or at one that is free."""
    for _ in range(PORT_TRIES if record.port == 0 else 1):
        try:
            return _started(record, bundle)
        except PortTaken as exc:  # since it was chosen: there are others
            taken = exc
    raise taken


def _started(record: Record, bundle: Bundle) -> Deployment:
    with _claimed(record) as claimed:
        ready = replaced(claimed, copy=str(Versions(claimed.folder).add(bundle).folder))
        key = _first_key(ready.keys_file) if ready.auth else None
        Registry().save(target_of(ready.target).create(ready))
    return Deployment(record.name, key)


@contextmanager
def _claimed(record: Record) -> Iterator[Record]:
    """Hold a name and a port from the first step of a deployment; give them back if a later one fails."""
    record = Registry().add(record, is_free=lambda port: local.is_free(record.host, port))
    try:
        # Nothing of an earlier deployment that was not deleted to the end may be mistaken for ours.
        shutil.rmtree(record.folder, ignore_errors=True)
        record.folder.mkdir(parents=True, mode=0o700)
        yield record
    except BaseException:
        shutil.rmtree(record.folder, ignore_errors=True)
        Registry().remove(record.name)
        raise


@contextmanager
def _replacing(record: Record) -> Iterator[Record]:
    """Keep the name, and the port, of an earlier deployment free meanwhile; if that fails, have it back."""
    old = next((other for other in Registry().all() if other.name == record.name), None)
    if old is None:
        yield record
        return
    earlier = Deployment(old.name)
    runs = earlier.status().state != "gone"
    earlier.stop()
    aside = old.folder.with_name(f".{old.name}")  # no name of a deployment begins with a dot
    shutil.rmtree(aside, ignore_errors=True)
    old.folder.mkdir(parents=True, exist_ok=True)  # somebody may have deleted it
    old.folder.rename(aside)
    Registry().remove(old.name)
    try:
        yield replaced(record, port=record.port or old.port)
    except BaseException as exc:
        aside.rename(old.folder)
        Registry().add(old, is_free=lambda port: True)
        how = _again(earlier) if runs else "is kept"
        if isinstance(exc, DeploymentError):
            raise type(exc)(f"{exc}; the earlier {old.name!r} {how}") from exc
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _again(earlier: Deployment) -> str:
    """Start a deployment that was stopped, and say how that went."""
    try:
        earlier.start()
    except TellapartError as exc:
        return f"did not start again ({exc}); `tellapart deploy start {earlier.name}` tries anew"
    return "runs again"


def _first_key(path: Path) -> str:
    from tellapart.serving.keys import Keys

    return Keys.open(path).create()[1]


def _check_settings(settings: Mapping[str, Any], options: Sequence[str]) -> None:
    from tellapart.serving.settings import Settings

    decided_here = {"models", "port", "workers", "keys_file"}
    known = sorted({f.name for f in fields(Settings)} - decided_here | {*options})
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ConfigError(f"no setting {unknown[0]!r} of a deployment; there are: {', '.join(known)}")
