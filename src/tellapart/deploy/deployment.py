"""Named services that live on after the program that made them.

>>> import tellapart as ta
>>> deployment = ta.deploy("run/model", "lesions", replicas=2)  # doctest: +SKIP
>>> deployment.score("a.jpg")  # doctest: +SKIP
>>> deployment.delete()  # doctest: +SKIP
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from tellapart.deploy.figures import Figures, fetch_figures
from tellapart.deploy.logfile import last_lines
from tellapart.deploy.state import Record, Registry
from tellapart.deploy.target import Status, check, target_of
from tellapart.deploy.versions import Versions, usable
from tellapart.errors import DeploymentError, MissingExtra, Unreachable

if TYPE_CHECKING:
    from tellapart.client import Image, Prediction
    from tellapart.serving.keys import Keys

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
        return _status(self.record)

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

        record = self._check_running()
        if record.auth and self.key is None:
            raise DeploymentError(
                f"the deployment {self.name!r} asks for a key; give --key, or set {KEY_VARIABLE}; "
                f"`tellapart deploy keys {self.name} --new` makes another"
            )
        with Client(record.url, self.key) as client:
            return client.predict(images, **options)

    def scale(self, replicas: int) -> None:
        """Answer from more or fewer replicas, without a failed request."""
        changed = replaced(self.record, replicas=replicas)
        check(changed)
        self._check_running()
        Registry().save(target_of(changed.target).scale(changed))

    def update(self, model: Path | str) -> str:
        """Serve another model without a failed request; return its version.

        Raises
        ------
        BundleError
            If the model cannot be used; the old one goes on answering.
        """
        record = self._check_running()
        versions = Versions(record.folder)
        copy = versions.add(usable(model, record.settings.get("precision")))
        changed = replaced(
            record, model=str(Path(model).absolute()), copy=str(copy.folder), version=copy.version
        )
        try:
            Registry().save(target_of(record.target).update(changed))
        except BaseException:
            shutil.rmtree(copy.folder, ignore_errors=True)
            raise
        versions.prune(copy.folder)
        return changed.version

    def stop(self) -> None:
        """Let its requests in flight finish, and stop it; `start` starts it again as it was.

        Raises
        ------
        Unreachable
            If its cluster does not answer.
        """
        record = self.record
        try:
            target_of(record.target).delete(record)
        except (Unreachable, MissingExtra) as exc:
            raise Unreachable(
                f"{exc}: whether {self.name!r} still runs there is not known; try again when it answers, "
                f"or `tellapart deploy delete {self.name} --force` forgets it here"
            ) from exc

    def start(self) -> None:
        """Start a deployment whose processes are gone, with the same model, port and keys."""
        record = self.record
        if _status(record).state in ("ready", "not ready"):
            raise DeploymentError(f"the deployment {self.name!r} runs already at {record.url}")
        Registry().save(target_of(record.target).create(record))

    def delete(self, *, force: bool = False) -> None:
        """Stop it, and forget it with its model, keys and log.

        Raises
        ------
        Unreachable
            If its cluster does not answer. With `force` it is forgotten nevertheless, and what may still
            run there is left to the cluster's owner.
        """
        record = self.record
        try:
            self.stop()
        except Unreachable:
            if not force:
                raise
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
        return last_lines(target_of(record.target).log_file(record), n)

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

    def _check_running(self) -> Record:
        record = self.record
        status = _status(record)
        if status.state in ("gone", "unreachable"):
            raise DeploymentError(f"the deployment {self.name!r} is {status.state}: {status.detail}")
        return record


def deployments() -> list[Deployment]:
    """Return this user's deployments by name, those that are gone too."""
    return [Deployment.find(record.name) for record in Registry().all()]


def statuses(of: Sequence[Deployment]) -> list[Status]:
    """Say how each is; a cluster that runs several is asked once for all of them."""
    records = [deployment.record for deployment in of]
    found: dict[str, Status] = {}
    for name in {record.target for record in records}:
        here = [record for record in records if record.target == name]
        found |= zip((record.name for record in here), target_of(name).statuses(here), strict=True)
    return [found[record.name] for record in records]


def _status(record: Record) -> Status:
    [status] = target_of(record.target).statuses([record])
    return status
