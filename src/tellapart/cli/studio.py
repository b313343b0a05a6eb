"""`tellapart studio`."""

import gc
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli.label import JournalFile, User
from tellapart.cli.terminal import Bars, printable, tell


def studio(
    data: Annotated[
        Path, typer.Argument(metavar="DATA_OR_RUN", help="Folder per class, manifest, or a finished run.")
    ],
    run: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Show this run; repeatable: others are compared with the first."),
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where runs lie and new ones go; default ./runs.")
    ] = None,
    user: User = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look only; nothing is written.")] = False,
    journal: JournalFile = None,
    findings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What `tellapart check DATA --json FILE` wrote.")
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="For tried images with a wrong answer; default ./examples."),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='Other keys: TOML lines such as accept = "y".'),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> int:
    """Browse, relabel, review, see results, choose a threshold and try: in the browser, on this machine."""
    from tellapart.process import this_user
    from tellapart.studio import server
    from tellapart.studio.app import create_app
    from tellapart.studio.guard import Door
    from tellapart.studio.opening import Choices, open_desk
    from tellapart.studio.shortcuts import read_keys

    choices = Choices(
        actor=user or this_user(),
        run=run or (),
        runs=runs,
        journal=journal,
        examples=examples,
        findings=findings,
        read_only=read_only,
        keys=read_keys(keys) if keys is not None else {},
    )
    gc.disable()  # a hundred thousand images are a million objects, among which there is no garbage to find
    desk, notes = open_desk(data, choices)
    gc.freeze()
    gc.enable()
    for note in notes:
        Bars().say(printable(note))
    listener = server.bind(port)
    address = f"http://{server.HOST}:{listener.getsockname()[1]}"

    def link() -> str:
        return f"{address}/?token={door.token}"

    def ready() -> None:
        tell(f"studio of {printable(str(desk.data))} at {link()} (Ctrl-C ends it)")
        if not no_browser and _has_display():
            _open(link())

    door = Door(on_entered=lambda: tell(f"for another browser: {link()}"))
    server.serve(create_app(desk, door), listener, ready)
    return 0


def _has_display() -> bool:
    """Return whether a browser can open a window; without one, some would take the terminal over."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open(url: str) -> None:
    import webbrowser
    from threading import Thread

    Thread(target=webbrowser.open, args=[url], daemon=True).start()
