"""What runs on a node of a Ray cluster: the same web service, given its model as bytes.

A node need not share a disk with the machine that deployed; it needs this package and nothing else.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tellapart.data.files import write_atomically
from tellapart.deploy.counts import VARIABLE, Counts
from tellapart.deploy.logfile import trim
from tellapart.serving import logs
from tellapart.serving.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX, LOCK = "tellapart-replica-", "lives"
"""How a replica's folder begins, and the file in it that is locked while it lives."""

LOCKED = '[{"id": "none", "sha256": "%s", "created": ""}]' % ("0" * 64)
"""A keys file that no key opens, until the replica is told the real ones."""


class Replica:
    """One replica; Ray Serve makes as many as are wanted and puts an HTTP proxy before them.

    Parameters
    ----------
    files
        The bundle: name -> content.
    settings
        `Settings.to_json` of the deployment.
    prefix
        The path below which the cluster's proxy serves this deployment, such as ``/lesions``.
    log
        The file to which all replicas append what they have to say; without one, standard error.
    """

    def __init__(
        self, files: Mapping[str, bytes], settings: str, prefix: str, log: str | None = None
    ) -> None:
        self._log = None if log is None else Path(log)
        logs.configure(None if self._log is None else self._log.open("a", encoding="utf-8"))
        _clear_up()
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX)
        folder, told = Path(self._folder.name), Settings.from_json(settings)
        self._lives = (folder / LOCK).open("w")
        fcntl.flock(self._lives, fcntl.LOCK_EX)
        name = told.default_model
        bundle = folder / name
        bundle.mkdir()
        for file_name, content in files.items():
            (bundle / file_name).write_bytes(content)
        self._keys_file = folder / "keys.json"
        write_atomically(self._keys_file, LOCKED.encode())
        self._settings = replace(
            told,
            models={name: bundle},
            workers=1,
            keys_file=None if told.keys_file is None else self._keys_file,
        )
        self._prefix = prefix
        self._counts = Counts(Path(os.environ[VARIABLE])) if VARIABLE in os.environ else None

    def __del__(self) -> None:
        """Remove the model; Ray calls this when a replica ends in good order, and then ends its process."""
        self._folder.cleanup()
        if self._counts is not None:
            self._counts.leave()

    def check_health(self) -> None:
        """Look after what replicas share; Ray calls this every few seconds, and itself sees who is dead."""
        if self._log is not None:
            trim(self._log)
        if self._counts is not None:
            self._counts.bury()

    def reconfigure(self, told: Mapping[str, str]) -> None:
        """Take over keys that changed; Ray calls this at the start too, without a restart."""
        write_atomically(self._keys_file, (told["keys"] or LOCKED).encode())  # in a folder of our own, 0700

    def __serve_build_asgi_app__(self) -> "ASGIApp":
        """Return the service, asked as if it stood at the root."""
        from tellapart.serving.app import create_app

        return WithoutPrefix(create_app(self._settings), self._prefix)


def _clear_up() -> None:
    """Remove the models of replicas on this node that were killed: a lock ends with who holds it."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError), (folder / LOCK).open() as lock:  # it lives, just begins, or is another user's
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


class WithoutPrefix:
    """An application as if it stood at the root of its server."""

    def __init__(self, app: "ASGIApp", prefix: str) -> None:
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass on one request."""
        if scope["type"] == "http" and scope["path"] == self._prefix:
            # The page's own addresses are relative to the folder that it seems to lie in.
            from starlette.responses import RedirectResponse

            await RedirectResponse(f"{self._prefix}/")(scope, receive, send)
            return
        if scope["type"] == "http":
            path = scope["path"].removeprefix(self._prefix)
            scope = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        await self._app(scope, receive, send)
