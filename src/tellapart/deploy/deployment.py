"""Named services that live on after the program that made them.

>>> import tellapart as ta
>>> deployment = ta.deploy("run/model", "lesions", replicas=2)  # doctest: +SKIP
>>> deployment.score("a.jpg")  # doctest: +SKIP
>>> deployment.delete()  # doctest: +SKIP
"""

import os
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from dataclasses import replace as replaced
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from tellapart.bundle import Bundle
from tellapart.deploy.figures import Figures, fetch_figures
from tellapart.deploy.state import Record, Registry, checked_name, this_user
from tellapart.deploy.target import OPTIONS, Status, Target, service_settings, target_of
from tellapart.deploy.versions import Versions, version_of
from tellapart.errors import ConfigError, DeploymentError, PortTaken
from tellapart.inference import Classifier

if TYPE_CHECKING:
    from tellapart.client import Image, Prediction
    from tellapart.serving.keys import Keys

PORT_TRIES = 3
"""How often a port is chosen, where none was asked for, that another program then takes first."""

KEY_VARIABLE = "TELLAPART_KEY"
"""Where a key is looked for when none is given."""


@dataclass(frozen=True)
class Deployment:
    """One deployment, by name; every method asks for its record and its processes anew.

    Attributes
    ----------
    name
        Its name.
    key
        What `score` shows to the service. Known to the program that called `deploy`, which alone sees it;
        others give it to `find` or set ``TELLAPART_KEY``.
    """

    name: str
    key: str | None = field(default=None, repr=False)

    @classmethod
    def find(cls, name: str, key: str | None = None) -> "Deployment":
        """Return an existing deployment.

        Raises
        ------
        DeploymentError
            If there is none of that name, or it is another user's.
        """
        return cls(Registry().get(name).name, key or os.environ.get(KEY_VARIABLE))

    @property
    def record(self) -> Record:
        """What is written down about it."""
        return Registry().get(self.name)

    @property
    def url(self) -> str:
        """Where it is asked from this machine."""
        return self.record.url

    def status(self) -> Status:
        """Say how it is; a stale record is told, not believed."""
        return target_of((record := self.record).target).status(record)

    @overload
    def score(self, images: "Image", **options: Any) -> "Prediction": ...
    @overload
    def score(self, images: "Iterable[Image]", **options: Any) -> "list[Prediction]": ...
    def score(self, images: "Image | Iterable[Image]", **options: Any) -> "Prediction | list[Prediction]":
        """Classify images: `tellapart.Client.predict`, with this deployment's address and key.

        Web addresses are accepted where the deployment was created with ``url_scoring=True``.

        Raises
        ------
        DeploymentError
            If it is gone, or asks for a key and there is none.
        ServiceError
            If it refuses.
        """
        from tellapart.client import Client

        _, record = self._running()
        if record.auth and self.key is None:
            raise DeploymentError(
                f"the deployment {self.name!r} asks for a key; give --key, or set {KEY_VARIABLE}; "
                f"`tellapart deploy keys {self.name} --new` makes another"
            )
        with Client(record.url, self.key) as client:
            return client.predict(images, **options)

    def scale(self, replicas: int) -> None:
        """Answer from more or fewer replicas, without a failed request."""
        _check_replicas(replicas)
        target, record = self._running()
        Registry().save(target.scale(replaced(record, replicas=replicas)))

    def update(self, model: Path | str) -> str:
        """Serve another model without a failed request; return its version.

        Raises
        ------
        BundleError
            If the model cannot be used; the old one goes on answering.
        """
        target, record = self._running()
        versions = Versions(record.folder)
        copy = versions.add(_usable(model, record.settings))
        changed = replaced(record, model=_absolute(model), copy=str(copy.folder), version=version_of(copy))
        try:
            Registry().save(target.update(changed))
        except BaseException:
            shutil.rmtree(copy.folder, ignore_errors=True)
            raise
        versions.prune(copy.folder)
        return changed.version

    def start(self) -> None:
        """Start a deployment whose processes are gone, with the same model, port and keys."""
        record = self.record
        target = target_of(record.target)
        if target.status(record).state in ("ready", "not ready"):
            raise DeploymentError(f"the deployment {self.name!r} runs already at {record.url}")
        Registry().save(target.create(record))

    def delete(self, *, force: bool = False) -> None:
        """Let its requests in flight finish, stop it, and forget it with its model, keys and log.

        Raises
        ------
        DeploymentError
            If its cluster cannot be reached. With `force` it is forgotten nevertheless, and what may still
            run there is left to the cluster's owner.
        """
        record = self.record
        target = target_of(record.target)
        status = target.status(record)
        if status.state != "unreachable":
            target.delete(record)
        elif not force:
            raise DeploymentError(
                f"{status.detail}: whether {self.name!r} still runs there is not known; try again when it "
                f"answers, or `tellapart deploy delete {self.name} --force` forgets it here"
            )
        shutil.rmtree(record.folder, ignore_errors=True)
        Registry().remove(self.name)

    def keys(self) -> tuple[str, ...]:
        """Return the identifiers of its keys; the keys themselves are known to nobody but their users."""
        return self._keys().ids()

    def new_key(self) -> tuple[str, str]:
        """Make one more key; return its identifier and the key, which is not shown again."""
        made = self._keys().create()
        self._rekey()
        return made

    def revoke_key(self, identifier: str) -> None:
        """Refuse a key from now on."""
        self._keys().revoke(identifier)
        self._rekey()

    def rotate_key(self, identifier: str) -> str:
        """Replace a key by a new one under the same identifier; return the new one."""
        key = self._keys().rotate(identifier)
        self._rekey()
        return key

    def logs(self, n: int = 50) -> list[str]:
        """Return the last lines that its processes printed.

        Raises
        ------
        DeploymentError
            If they lie on the nodes of a cluster that is not ours.
        """
        record = self.record
        log = target_of(record.target).log_file(record)
        try:
            with log.open(encoding="utf-8", errors="replace") as lines:
                return [line.rstrip("\n") for line in deque(lines, maxlen=n)]
        except FileNotFoundError:
            return []

    def figures(self) -> Figures:
        """Return what it has answered since its start, and how far its images drift.

        Raises
        ------
        ServiceError
            If it does not answer, or asks for a key and there is none.
        """
        return fetch_figures(self.url, self.key)

    def _keys(self) -> "Keys":
        from tellapart.serving.keys import Keys

        record = self.record
        if not record.auth:
            raise DeploymentError(
                f"the deployment {self.name!r} asks for no key; create it again without --no-auth "
                "for one that does"
            )
        return Keys.open(record.keys_file)

    def _rekey(self) -> None:
        target_of((record := self.record).target).rekey(record)

    def _running(self) -> tuple[Target, Record]:
        record = self.record
        target = target_of(record.target)
        status = target.status(record)
        if status.state in ("gone", "unreachable"):
            raise DeploymentError(f"the deployment {self.name!r} is {status.state}: {status.detail}")
        return target, record


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
        Delete a deployment of that name first, and take over its port.
    auth
        Ask for keys. Without, only this machine can reach it.
    settings
        Further fields of `tellapart.serving.settings.Settings`, such as ``host`` or ``url_scoring``; for
        Ray also ``address`` of the cluster, ``max_replicas`` and ``cpus`` of each.

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
    _check_replicas(replicas)
    target_of(target)  # refuses what there is not
    options = {option: settings.pop(option) for option in OPTIONS[target] if option in settings}
    _check_settings(settings, OPTIONS[target])
    bundle = _usable(model, settings)
    record = Record(
        name=name,
        target=target,
        model=_absolute(model),
        copy=str(bundle.folder),
        version=version_of(bundle),
        host=settings.pop("host", "127.0.0.1"),
        port=port or 0,
        replicas=replicas,
        auth=auth,
        settings=settings,
        options=options,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        owner=this_user(),
    )
    service_settings(record)  # refuses what the service would, before anything is replaced
    if replace:
        record = _replacing(record)
    for _ in range(PORT_TRIES if record.port == 0 else 1):
        try:
            return _created(record, bundle)
        except PortTaken as exc:  # since it was chosen: there are others
            taken = exc
    raise taken


def _created(record: Record, bundle: Bundle) -> Deployment:
    with _claimed(record) as claimed:
        ready = replaced(claimed, copy=str(Versions(claimed.folder).add(bundle).folder))
        key = _first_key(ready.keys_file) if ready.auth else None
        Registry().save(target_of(ready.target).create(ready))
    return Deployment(record.name, key)


def deployments() -> list[Deployment]:
    """Return this user's deployments by name, those that are gone too."""
    return [Deployment.find(record.name) for record in Registry().all()]


@contextmanager
def _claimed(record: Record) -> Iterator[Record]:
    """Hold a name and a port from the first step of a deployment; give them back if a later one fails."""
    from tellapart.deploy.local import is_free

    record = Registry().add(record, is_free=lambda port: is_free(record.host, port))
    try:
        # Nothing of an earlier deployment that was not deleted to the end may be mistaken for ours.
        shutil.rmtree(record.folder, ignore_errors=True)
        record.folder.mkdir(parents=True, mode=0o700)
        yield record
    except BaseException:
        shutil.rmtree(record.folder, ignore_errors=True)
        Registry().remove(record.name)
        raise


def _replacing(record: Record) -> Record:
    """Delete the deployment whose name a new one takes; return the new record, with its port."""
    if not any(other.name == record.name for other in Registry().all()):
        return record
    old = Deployment(record.name)
    port = record.port or old.record.port
    old.delete()
    return replaced(record, port=port)


def _first_key(path: Path) -> str:
    from tellapart.serving.keys import Keys

    return Keys.open(path).create()[1]


def _usable(model: Path | str, settings: Mapping[str, Any]) -> Bundle:
    """Return a bundle that was seen to answer."""
    from tellapart.serving.models import find_bundle, try_out

    bundle = find_bundle(Path(model), settings.get("precision"))
    try_out(Classifier(bundle))
    return bundle


def _absolute(model: Path | str) -> str:
    return str(Path(model).absolute())


def _check_replicas(replicas: int) -> None:
    if replicas < 1:
        raise ConfigError(
            f"replicas is {replicas}; it must be at least 1; `tellapart deploy delete` stops all"
        )


def _check_settings(settings: Mapping[str, Any], options: Sequence[str]) -> None:
    from tellapart.serving.settings import Settings

    decided_here = {"models", "port", "workers", "keys_file"}
    known = sorted({f.name for f in fields(Settings)} - decided_here | {*options})
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ConfigError(f"no setting {unknown[0]!r} of a deployment; there are: {', '.join(known)}")
