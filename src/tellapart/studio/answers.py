"""What the studio answers, whoever carries it: to a page over HTTP, or to a notebook through its kernel."""

import io
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Semaphore
from typing import TYPE_CHECKING, Any

from tellapart.data.images import decode
from tellapart.errors import LabelConflict, ReadOnly, StaleList, TellapartError
from tellapart.studio.operation import Json
from tellapart.studio.operations import perform

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk

log = logging.getLogger(__name__)

LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif")
"""Suffixes of files whose whole picture goes to the page without loss."""

_whole_pictures = Semaphore(2)
"""Whole pictures that are in memory at once: one may take half a gigabyte."""


def answered(desk: "Desk", name: str, values: Mapping[str, Any]) -> tuple[int, str]:
    """Carry out one operation, whatever comes of it; see `outcome`."""
    return outcome(desk, name, lambda: perform(desk, name, values))


def outcome(
    desk: "Desk", name: str, work: Callable[[], Json], log_is: str = "the studio's terminal"
) -> tuple[int, str]:
    """Do what a page asked for, and say what came of it, whatever that is.

    Parameters
    ----------
    desk
        What is open.
    name
        What it is called.
    work
        Does it.
    log_is
        Where this process shows what it logs, in words.

    Returns
    -------
    status, text
        HTTP's number: 200, 400 for what was asked wrongly, 403 for writing where one may only read, 409 for
        a conflict, 500 for our own mistakes. The text is a JSON object in ASCII: the answer, or ``error``
        and, of a conflict, ``clashes``: none where a list of images is no longer known.
    """
    try:
        return 200, as_json(work())
    except LabelConflict as exc:
        return 409, as_json({"error": str(exc), "clashes": _clashes(desk, exc)})
    except StaleList as exc:
        return 409, as_json({"error": str(exc), "clashes": []})
    except ReadOnly as exc:
        return 403, as_json({"error": str(exc)})
    except TellapartError as exc:
        return 400, as_json({"error": str(exc)})
    except Exception:
        log.exception("%s failed", name)
        return 500, as_json({"error": f"{name} went wrong; {log_is} shows how"})


def as_json(values: Json) -> str:
    """Return ASCII: a file name that is not valid UTF-8 holds lone surrogates, which only escapes carry."""
    return json.dumps(values, allow_nan=False, separators=(",", ":"))


def whole_picture(path: Path) -> tuple[bytes, str]:
    """Return the picture of a file, upright and without its metadata, and its media type.

    As PNG, or as JPEG where the file has losses already.

    Raises
    ------
    UnreadableImage
        If it cannot be shown.
    """
    lossless = path.suffix.lower() in LOSSLESS
    buffer = io.BytesIO()
    with _whole_pictures:
        picture = decode(path)
        if lossless:
            picture.save(buffer, "PNG", compress_level=1)
        else:
            picture.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue(), "image/png" if lossless else "image/jpeg"


def _clashes(desk: "Desk", conflict: LabelConflict) -> list[Json]:
    return [
        {
            "i": desk.catalog.index(clash.change.sample_id),
            "id": clash.change.sample_id,
            "field": clash.change.field,
            "found": clash.found,
            "wanted": clash.change.new,
            "by": clash.event.actor if clash.event else None,
            "at": clash.event.at if clash.event else None,
        }
        for clash in conflict.clashes
    ]
