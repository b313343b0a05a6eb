"""The process of a deployment on this machine: ``python -m tellapart.deploy.service FOLDER``.

It serves what ``FOLDER/settings.json`` says, reads that again at SIGHUP, and says in ``FOLDER/state.json``
how that went: ``{"settings": …, "reason": null}``.
"""

import json
import sys
from pathlib import Path

from tellapart.data.files import write_atomically
from tellapart.errors import TellapartError
from tellapart.serving.settings import Settings

SETTINGS_FILE, STATE_FILE = "settings.json", "state.json"


def run(folder: Path) -> int:
    """Serve a deployment's folder until told to end; return the exit status."""
    # Not above: workers import this module first, and prometheus_client only after they chose its folder.
    from tellapart.serving.supervisor import Changes, serve

    asked = ""

    def read() -> Settings:
        nonlocal asked
        asked = (folder / SETTINGS_FILE).read_text(encoding="utf-8")
        return Settings.from_json(asked)

    def done(reason: str | None) -> None:
        state = {"settings": asked, "reason": reason}
        write_atomically(folder / STATE_FILE, json.dumps(state).encode())

    try:
        return serve(read(), on_ready=lambda url: done(None), changes=Changes(read, done))
    except TellapartError as exc:
        done(str(exc))
        return 1


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
