"""Find the images of a folder of class folders, in the same order on every machine, decoding nothing."""

import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tellapart.data.images import ACCEPTED_SUFFIXES
from tellapart.errors import EmptyDataset
from tellapart.records import Sample, Skipped

SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""What a folder, or a manifest's `split` cell, may be called, and what it means."""

_HIDDEN_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


@dataclass(frozen=True)
class Scan:
    """What lies in a folder: usable-looking samples in order, and what was left out and why."""

    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...]


def scan_folder(root: Path) -> Scan:
    """Find the images under `root`, one folder per class, or such folders under train/, val/ and test/.

    Hidden files (a leading dot, Thumbs.db and the like) are ignored by convention; everything else
    that is not taken is in `skipped`. Symbolic links are followed, loops are cut.

    Raises
    ------
    EmptyDataset
        If `root` is missing, not a folder, or holds no class folder with an image in it.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise EmptyDataset(
            f"{root} {what}; give a folder with one sub-folder of images per class, "
            "or a .csv or .parquet manifest"
        )
    folders = [entry.name for entry in _visible(root) if _is_folder(entry)]
    has_splits = _are_split_folders(root, folders)
    samples: list[Sample] = []
    skipped = list(_strays(root, ""))
    for folder in folders:
        if not has_splits:
            _scan_class(root, folder, None, samples, skipped)
            continue
        for entry in _visible(root / folder):
            if _is_folder(entry):
                _scan_class(root, f"{folder}/{entry.name}", SPLIT_FOLDERS[folder.lower()], samples, skipped)
        skipped += _strays(root / folder, f"{folder}/")
    if not samples:
        raise EmptyDataset(_nothing_found(root, folders, skipped))
    return Scan(tuple(_in_order(samples)), tuple(sorted(skipped, key=lambda s: s.path)))


def portable_id(text: str) -> str:
    """Return a path's NFC form with POSIX separators: what two machines agree to call the file."""
    return unicodedata.normalize("NFC", text.replace("\\", "/") if os.sep == "\\" else text)


def _portable(text: str) -> str:
    if text.isascii():  # as nearly all are, which saves most of the time
        return portable_id(text)
    # File names that are not valid UTF-8 arrive with surrogates, which no text file could hold.
    return portable_id(text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def _scan_class(
    root: Path, folder: str, split: str | None, samples: list[Sample], skipped: list[Skipped]
) -> None:
    label = _portable(folder.rsplit("/", 1)[-1])
    found = False
    for relative, left_out in _walk(root, folder, (_identity(root),)):
        found = True
        if left_out is None:
            samples.append(Sample(_portable(relative), root / relative, label, split))
        else:
            skipped.append(left_out)
    if not found:
        skipped.append(Skipped(_portable(folder) + "/", "empty folder"))


def _walk(
    root: Path, folder: str, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, Skipped | None]]:
    """Yield (relative path, None or why it is not taken) for every visible file below `folder`."""
    place = root / folder
    try:
        here = _identity(place)
        if here in above:
            return
        entries = list(_visible(place))
    except OSError as exc:
        reason = (exc.strerror or type(exc).__name__).lower()
        yield folder + "/", Skipped(_portable(folder) + "/", reason, unreadable=True)
        return
    for entry in entries:
        relative = f"{folder}/{entry.name}" if folder else entry.name
        if _is_folder(entry):
            yield from _walk(root, relative, (*above, here))
        else:
            yield relative, _why_not(entry, relative)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _why_not(entry: os.DirEntry[str], relative: str) -> Skipped | None:
    """Return why what is no folder is not taken; None for a file that is named like an image."""
    suffix = _suffix(entry.name)
    try:
        if suffix in ACCEPTED_SUFFIXES and entry.is_file():  # which asks the system about links only
            return None
        mode = entry.stat().st_mode
    except OSError:
        return Skipped(_portable(relative), "broken link: no such file", unreadable=True)
    name = _portable(relative)
    if suffix not in ACCEPTED_SUFFIXES:
        return Skipped(name, f"not an image: the name ends in {suffix or 'no suffix'}")
    return Skipped(name, f"not a regular file (mode {stat.filemode(mode)})", unreadable=True)


def _visible(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if not entry.name.startswith(".") and entry.name.lower() not in _HIDDEN_NAMES:
                yield entry


def _strays(place: Path, prefix: str) -> Iterator[Skipped]:
    """Yield the images, and the links that lead nowhere, that lie beside class folders."""
    for entry in _visible(place):
        if not _is_folder(entry):
            left_out = _why_not(entry, prefix + entry.name)
            if left_out is None:
                yield Skipped(_portable(prefix + entry.name), "not in a class folder")
            elif left_out.unreadable:
                yield left_out


def _suffix(name: str) -> str:
    """Return what `PurePath(name).suffix` says, in small letters and a fifth of the time."""
    dot = name.rfind(".")
    return name[dot:].lower() if 0 < dot < len(name) - 1 else ""


def _are_split_folders(root: Path, folders: list[str]) -> bool:
    """Whether the folders are train/val/test over class folders, rather than classes of such names."""
    if not folders or any(folder.lower() not in SPLIT_FOLDERS for folder in folders):
        return False
    return any(_is_folder(entry) for folder in folders for entry in _visible(root / folder))


def _in_order(samples: list[Sample]) -> Iterator[Sample]:
    """Sort by id; should two names differ only in Unicode form, let the later keep its raw form."""
    from dataclasses import replace

    taken: set[str] = set()
    for sample in sorted(samples, key=lambda s: s.id):  # of equal ids, the one found first comes first
        unique = sample.id
        while unique in taken:
            unique += "\u200b"
        taken.add(unique)
        yield sample if unique == sample.id else replace(sample, id=unique)


def _nothing_found(root: Path, folders: list[str], skipped: list[Skipped]) -> str:
    accepted = " ".join(sorted(ACCEPTED_SUFFIXES))
    if not folders:
        stray = sum(s.reason == "not in a class folder" for s in skipped)
        holds = f"{stray} images but no class folders" if stray else "no folders"
        return f"{root} holds {holds}; give a folder with one sub-folder of images per class"
    return f"no images in the {len(folders)} folders of {root} (accepted: {accepted})"


def images_below(folder: Path) -> list[Path]:
    """Return every file below `folder` that is named like an image, in portable order."""
    found = [relative for relative, left_out in _walk(folder, "", ()) if left_out is None]
    return [folder / relative for relative in sorted(found, key=_portable)]
