"""Answers to more images than one machine can look at: Ray Data over a cluster, Parquet out.

Every node must see the images under the same paths. Answers are written in parts, each complete or absent,
so that an interrupted command goes on where it stopped when it is given again.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.bundle import CARD_FILE, MODEL_FILE, Bundle
from tellapart.deploy.connection import LOCAL, connected
from tellapart.errors import ConfigError, MissingExtra
from tellapart.progress import SILENT, Progress

PART = 20_000
"""Images in one file of answers: what an interruption can cost at most."""

BATCH = 64
"""Images that one process is given at a time."""

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
        If no cluster answers there.
    MissingExtra
        If Ray is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as exc:
        raise MissingExtra("predict --ray needs pyarrow: pip install 'tellapart[ray]'") from exc
    bundle = Bundle.load(model)
    files = {name: (bundle.folder / name).read_bytes() for name in (MODEL_FILE, CARD_FILE)}
    # Of the card too: another threshold gives other answers.
    version = hashlib.sha256(b"".join(files.values())).hexdigest()[:12]
    out.mkdir(parents=True, exist_ok=True)
    n_parts, answered, n_errors = _answered(out, version)
    left = [path for path in (os.fspath(path.absolute()) for path in paths) if path not in answered]
    if not left:
        return n_errors
    with connected(address or LOCAL), progress.track("predicting", len(left)) as advance:
        for number, start in enumerate(range(0, len(left), part_size), n_parts):
            rows = _on_cluster(left[start : start + part_size], files)
            n_errors += sum(row["error"] is not None for row in rows)
            table = pyarrow.Table.from_pylist(rows).replace_schema_metadata({"model": version})
            draft = out / f".part-{number:05d}"
            parquet.write_table(table, draft)
            draft.replace(out / f"part-{number:05d}.parquet")
            advance(len(rows))
    return n_errors


def _answered(out: Path, version: str) -> tuple[int, set[str], int]:
    """Return how many parts there are, the paths in them, and how many of these have errors."""
    from pyarrow import parquet

    parts = sorted(out.glob("part-*.parquet"))
    answered: set[str] = set()
    n_errors = 0
    for part in parts:
        found = (parquet.read_schema(part).metadata or {}).get(b"model", b"").decode()
        if found != version:
            raise ConfigError(
                f"{part} holds answers of another model ({found or 'unknown'}); choose another --out"
            )
        table = parquet.read_table(part, columns=["path", "error"])
        answered.update(table["path"].to_pylist())
        n_errors += len(table) - table["error"].null_count
    return len(parts), answered, n_errors


def _on_cluster(paths: Sequence[str], files: Mapping[str, bytes]) -> list[Row]:
    """Return one row per path, in their order."""
    import ray

    data = ray.data.from_items([{"number": number, "path": path} for number, path in enumerate(paths)])
    nodes = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    answers = data.map_batches(
        _Scorer,
        fn_constructor_kwargs={"files": ray.put(files)},
        batch_size=BATCH,
        # One on each node, where it uses all cores; Ray's own steps need some of what it counts as CPUs.
        compute=ray.data.ActorPoolStrategy(size=sum(cpus > 0 for cpus in nodes)),
        num_cpus=0.6 * min(cpus for cpus in nodes if cpus > 0),
        scheduling_strategy="SPREAD",
    )
    rows = sorted(answers.iter_rows(), key=lambda row: row["number"])
    return [{name: value for name, value in row.items() if name != "number"} for row in rows]


class _Scorer:
    """A classifier in a process of the cluster."""

    def __init__(self, files: Any) -> None:
        import ray

        from tellapart.inference import Classifier

        self._folder = tempfile.TemporaryDirectory(prefix="tellapart-")
        content = ray.get(files) if isinstance(files, ray.ObjectRef) else files
        for name, value in content.items():
            Path(self._folder.name, name).write_bytes(value)
        self._classifier = Classifier.load(self._folder.name)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one batch."""
        answers = list(self._classifier.stream(batch["path"].tolist()))
        names = self._classifier.class_names
        nothing = np.full(len(names), np.nan)
        y_prob = np.stack([nothing if a.y_prob is None else a.y_prob for a in answers])
        columns = {f"prob_{name}": y_prob[:, index] for index, name in enumerate(names)}
        return {
            **batch,
            "predicted": np.array([a.label for a in answers], dtype=object),
            "error": np.array([a.reason for a in answers], dtype=object),
            **columns,
            "abstained": np.array([a.abstained for a in answers]),
        }
