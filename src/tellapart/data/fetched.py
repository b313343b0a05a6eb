"""A folder that `tellapart fetch` fills: by what it is known, and whether it is whole."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tellapart.data.manifest import FETCHED, FETCHED_MANIFEST, read_manifest
from tellapart.data.scan import portable_id
from tellapart.errors import ManifestError


def fetched_folder(data: Path) -> Path | None:
    """Return the folder of downloaded images that DATA names, by itself or by its manifest; else None."""
    folder = data.parent if data.name == FETCHED_MANIFEST else data
    return folder if (folder / FETCHED).is_file() else None


def finished_manifest(folder: Path) -> Path | None:
    """Return the manifest of a folder of downloaded images, which knows groups and licences of all of them.

    None where nothing arrived.

    Raises
    ------
    ManifestError
        If images arrived that it does not name: the command that fetches them was killed, or is at work.
    """
    journal, manifest = folder / FETCHED, folder / FETCHED_MANIFEST
    # The manifest is written last: one that is younger is whole, or somebody took rows out.
    if manifest.is_file() and manifest.stat().st_mtime_ns >= journal.stat().st_mtime_ns:
        return manifest
    events = list(_events(journal))
    arrived = {portable_id(event["path"]) for event in events if event.get("event") == "arrived"}
    named = {sample.id for sample in read_manifest(manifest).samples} if manifest.is_file() else set()
    missing = [path for path in arrived - named if (folder / path).is_file()]
    if missing:
        raise ManifestError(
            f"the download into {folder} did not end: of {len(missing)} images nothing says yet whose they "
            f"are and under which licence; run {_command(folder, events)} again, with the same options"
        )
    return manifest if manifest.is_file() else None


def _events(journal: Path) -> Iterator[Mapping[str, Any]]:
    for line in journal.read_bytes().splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # half a line, by a process that died
            continue
        if isinstance(event, dict):
            yield event


def _command(folder: Path, events: list[Mapping[str, Any]]) -> str:
    searched = any("queries" in event.get("request", ()) for event in events)
    return f"`tellapart fetch {'search' if searched else 'isic'} {folder}`"
