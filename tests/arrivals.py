"""Images that arrived, and putting them into a collection."""

import dataclasses

from pictures import encode, solid
from tellapart.sources.arrival import Arrival
from tellapart.sources.candidate import Candidate
from tellapart.sources.collection import Collection

REQUEST = {"query": "sex:female", "seed": "0"}
CONTENT = encode(solid("red"))


def arrival(key: str = "a1", label: str = "ant", **options: object) -> Arrival:
    """An image that arrived; `options` are fields of the candidate or of the arrival."""
    fields = {field.name for field in dataclasses.fields(Arrival)}
    of_arrival = {name: options.pop(name) for name in list(options) if name in fields}
    candidate = Candidate(key, f"https://a.example/{key}.png", label, **options)
    defaults = {
        "candidate": candidate,
        "path": f"{label}/{key}.png",
        "sha256": f"{key}-here",
        "n_bytes": len(CONTENT),
        "size_px": (48, 40),
        "source_sha256": f"{key}-there",
        "source_bytes": 999,
        "etag": '"t"',
        "at": "2026-11-24T12:00:00+00:00",
    }
    return Arrival(**{**defaults, **of_arrival})


def put(collection: Collection, *arrivals: Arrival) -> None:
    """Note images and write their files, as a download does."""
    for one in arrivals:
        assert collection.note_arrival(one) is None
        path = collection.folder / one.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(CONTENT)
