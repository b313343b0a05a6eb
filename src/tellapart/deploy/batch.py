"""Answers to more images than one machine can look at: Ray Data over a cluster, Parquet out.

Every node must see the images under the same paths. Answers are written in parts, each complete or absent,
so that an interrupted command goes on where it stopped when it is given again.
"""

import hashlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart import errors
from tellapart.bundle import CARD_FILE, MODEL_FILE, Bundle
from tellapart.deploy.connection import LOCAL, shortened
from tellapart.deploy.head import QUIET
from tellapart.errors import ConfigError, DeploymentError, MissingExtra
from tellapart.progress import SILENT, Progress

if TYPE_CHECKING:
    import pyarrow

PART = 20_000
"""Images in one file of answers: what a killed process can cost at most."""

BATCH = 64
"""Images that one process is given at a time."""

PATIENCE_S = 600.0
"""Without any answer, before a cluster is given up; it may first have to start machines."""

Row = dict[str, Any]


def predict_files(
    model: Path | str,
    paths: Sequence[Path],
    out: Path,
    *,
    address: str | None = None,
    part_size: int = PART,
    progress: Progress = SILENT,
) -> int:
    """Classify files on a Ray cluster.

    Parameters
    ----------
    model
        A bundle or a run folder; it is sent to the nodes.
    paths
        Images.
    out
        Folder of the answers, ``part-00000.parquet`` and so on, with the columns ``path``, ``predicted``,
        ``error``, ``prob_CLASS`` and ``abstained``; paths that stand in it already are not asked again.
    address
        Of the cluster; None starts Ray on this machine for as long as it takes.

    Returns
    -------
    int
        How many of these paths have an error for an answer.

    Raises
    ------
    ConfigError
        If `out` holds answers of another model, or the address is none.
    DeploymentError
        If no cluster answers there, or it stops answering.
    MissingExtra
        If Ray is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as exc:
        raise MissingExtra("predict --ray needs pyarrow: pip install 'tellapart[ray]'") from exc
    bundle = Bundle.load(model)
    files = {name: (bundle.folder / name).read_bytes() for name in (MODEL_FILE, CARD_FILE)}
    # Of the card too: another threshold gives other answers.
    version = hashlib.sha256(b"".join(files.values())).hexdigest()[:12]
    schema = _schema(bundle.card.class_names, version)
    out.mkdir(parents=True, exist_ok=True)
    asked = dict.fromkeys(os.fspath(path.absolute()) for path in paths)
    number, answered = _answered(out, version)
    n_errors = sum(answered.get(path, False) for path in asked)
    left = [path for path in asked if path not in answered]
    if not left:
        return n_errors
    job = {
        "address": address or LOCAL,
        "folder": str(bundle.folder),
        "files": list(files),
        "parts": [left[start : start + part_size] for start in range(0, len(left), part_size)],
        "batch": BATCH,
    }
    rows: list[Row] = []
    answers = _asked(job, out)
    next(answers)  # a cluster that cannot be had is told before there is any progress to show
    with progress.track("predicting", len(left)) as advance:
        try:
            for row in answers:
                if row is None:
                    _write(out / f"part-{number:05d}.parquet", rows, schema)
                    number, rows = number + 1, []
                else:
                    rows.append(row)
                    n_errors += row["error"] is not None
                    advance(1)
        finally:  # what came before an interruption is kept, too
            _write(out / f"part-{number:05d}.parquet", rows, schema)
    return n_errors


def _schema(class_names: Sequence[str], version: str) -> "pyarrow.Schema":
    """Return the columns of every part: inferred ones would differ where a part has no error."""
    import pyarrow as pa

    columns = [("path", pa.string()), ("predicted", pa.string()), ("error", pa.string())]
    columns += [(f"prob_{name}", pa.float64()) for name in class_names]
    return pa.schema([*columns, ("abstained", pa.bool_())], metadata={"model": version})


def _answered(out: Path, version: str) -> tuple[int, dict[str, bool]]:
    """Return the number of the next part, and of each path in those before whether it has an error."""
    from pyarrow import parquet

    parts = sorted(out.glob("part-*.parquet"))
    answered: dict[str, bool] = {}
    for part in parts:
        found = (parquet.read_schema(part).metadata or {}).get(b"model", b"").decode()
        if found != version:
            raise ConfigError(
                f"{part} holds answers of another model ({found or 'unknown'}); choose another --out"
            )
        table = parquet.read_table(part, columns=["path", "error"])
        errors = table["error"].is_valid().to_pylist()
        answered |= zip(table["path"].to_pylist(), errors, strict=True)
    return int(parts[-1].stem.removeprefix("part-")) + 1 if parts else 0, answered


def _write(part: Path, rows: Sequence[Row], schema: "pyarrow.Schema") -> None:
    import pyarrow
    from pyarrow import parquet

    if rows:
        draft = part.with_name(f".{part.name}")
        ordered = sorted(rows, key=lambda row: row["number"])
        parquet.write_table(pyarrow.Table.from_pylist(ordered, schema), draft)
        draft.replace(part)


def _asked(job: Mapping[str, Any], out: Path) -> Iterator[Row | None]:
    """Have `tellapart.deploy.scoring` do a job; yield each answer, and None before and after a part.

    Raises
    ------
    DeploymentError
        If no answer comes for `PATIENCE_S`, or Ray fails.
    """
    again = f"the answers so far are in {out}; the same command goes on from there"
    with tempfile.TemporaryFile() as words:
        child = subprocess.Popen(
            [sys.executable, "-m", "tellapart.deploy.scoring"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            env={**os.environ, **QUIET},
        )
        assert child.stdin is not None  # as asked for
        assert child.stdout is not None
        try:
            with child.stdin as stdin:
                stdin.write(json.dumps(job).encode())
            for line in _lines(child.stdout.fileno()):
                row = json.loads(line) if line else None
                if row is not None and "failed" in row:
                    reason = f"; {again}" if row["failed"] == "DeploymentError" else ""
                    raise getattr(errors, row["failed"])(row["message"] + reason)
                yield row
            if child.wait():
                words.seek(0)
                raise DeploymentError(
                    f"Ray failed: {shortened(words.read().decode(errors='replace'))}; {again}"
                )
        except TimeoutError:
            raise DeploymentError(f"no answer came from the cluster in {PATIENCE_S:g} s; {again}") from None
        finally:
            child.kill()
            child.wait()
            child.stdout.close()


def _lines(pipe: int) -> Iterator[bytes]:
    """Yield lines as they come, without their end.

    Raises
    ------
    TimeoutError
        If none comes for `PATIENCE_S`.
    """
    begun = b""
    while True:
        if not select.select([pipe], [], [], PATIENCE_S)[0]:
            raise TimeoutError
        came = os.read(pipe, 1 << 16)
        if not came:
            return
        *lines, begun = (begun + came).split(b"\n")
        yield from lines
