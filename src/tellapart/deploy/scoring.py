"""Images scored by Ray Data, in a process of its own: ``python -m tellapart.deploy.scoring``.

Ray Data can wait for ever for what a dead node took along, and nothing but the end of its process ends that
wait. The job comes as JSON on standard input; a line of JSON goes out for every answer, an empty one when
the cluster is there, and after each part.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.deploy.connection import connected, shortened
from tellapart.errors import TellapartError


def main() -> int:
    """Do one job: ``address``, ``folder`` of the bundle, ``files`` of it to send, ``parts``, ``batch``."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # where Ray may print what it likes
    job = json.load(sys.stdin)
    files = {name: Path(job["folder"], name).read_bytes() for name in job["files"]}
    try:
        with connected(job["address"]) as ray:
            try:
                print(file=answers, flush=True)
                for part in job["parts"]:
                    for row in _on_cluster(part, files, job["batch"]):
                        print(json.dumps(row, default=_plain), file=answers, flush=True)
                    print(file=answers, flush=True)
            except ray.exceptions.RayError as exc:
                print(json.dumps({"failed": "DeploymentError", "message": _reason(exc)}), file=answers)
    except TellapartError as exc:
        print(json.dumps({"failed": type(exc).__name__, "message": str(exc)}), file=answers)
    answers.flush()
    return 0


def _reason(exc: Exception) -> str:
    return f"Ray failed: {shortened(str(exc))}"


def _plain(value: "np.generic") -> Any:
    """Return what JSON can say of one of NumPy's numbers."""
    return value.item()


def _on_cluster(paths: Sequence[str], files: Mapping[str, bytes], batch: int) -> Iterator[dict[str, Any]]:
    """Yield one row per path as they come, each with its place."""
    import ray

    data = ray.data.from_items([{"number": number, "path": path} for number, path in enumerate(paths)])
    nodes = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    answers = data.map_batches(
        _Scorer,
        fn_constructor_kwargs={"files": ray.put(files)},
        batch_size=batch,
        # One on each node, where it uses all cores; Ray's own steps need some of what it counts as CPUs.
        compute=ray.data.ActorPoolStrategy(size=sum(cpus > 0 for cpus in nodes)),
        num_cpus=0.6 * min(cpus for cpus in nodes if cpus > 0),
        scheduling_strategy="SPREAD",
    )
    yield from answers.iter_rows()


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


if __name__ == "__main__":
    sys.exit(main())
