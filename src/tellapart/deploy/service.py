"""The process of a deployment on this machine: ``python -m tellapart.deploy.service FOLDER``.

It serves what ``FOLDER/settings.json`` says, reads that again at SIGHUP, and says in ``FOLDER/state.json``
how that went: ``{"settings": …, "reason": null}``. ``FOLDER/process.json`` says which process it is, for the
case that whoever started it was killed before writing that down.
"""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from threading import Thread

from tellapart.data.files import write_atomically
from tellapart.deploy import logfile
from tellapart.errors import TellapartError
from tellapart.process import Process
from tellapart.serving.settings import Settings

SETTINGS_FILE, STATE_FILE, PROCESS_FILE = "settings.json", "state.json", "process.json"


def run(folder: Path) -> int:
    """Serve a deployment's folder until told to end; return the exit status."""
    # Not above: workers import this module first, and prometheus_client only after they chose its folder.
    from tellapart.serving.supervisor import Changes, serve

    process = Process.of(os.getpid())
    assert process is not None  # we live
    write_atomically(folder / PROCESS_FILE, json.dumps(asdict(process)).encode())
    Thread(target=_keep_short, args=(folder / logfile.NAME,), name="log", daemon=True).start()
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


def _keep_short(log: Path) -> None:
    while True:
        logfile.trim(log)
        time.sleep(logfile.PAUSE_S)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
