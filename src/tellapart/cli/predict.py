"""`tellapart predict`."""

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tellapart.cli.options import image_paths
from tellapart.cli.terminal import printable, tell
from tellapart.errors import ConfigError

if TYPE_CHECKING:
    from tellapart.inference import Answer


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle or a run folder.")],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Files, folders, or - for a list on standard input."),
    ],
    format: Annotated[Literal["table", "json", "csv"], typer.Option("--format")] = "table",
    ray: Annotated[bool, typer.Option("--ray", help="On a Ray cluster; answers go to --out.")] = False,
    address: Annotated[str | None, typer.Option(help="Of the Ray cluster; default: this machine.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="With --ray: Parquet files.")] = None,
) -> int:
    """Say what IMAGEs show, one line each as they come; needs no torch."""
    if ray:
        return _on_cluster(model, images, out, address)
    if out is not None or address is not None:
        raise ConfigError("--out and --address go with --ray; without it answers are printed")
    from tellapart.inference import Classifier

    classifier = Classifier.load(model)
    writers: dict[str, type[_Table | _Json | _Csv]] = {"table": _Table, "json": _Json, "csv": _Csv}
    write = writers[format](classifier.class_names)
    n_unreadable = 0
    # Folders are listed before the first answer: one without images must not cost the answers to others.
    paths = [_paths(image) for image in images]
    write.start()
    for answer in classifier.stream(chain.from_iterable(paths)):
        n_unreadable += answer.reason is not None
        write.row(answer)
        sys.stdout.flush()
    write.end()
    return 1 if n_unreadable else 0


def _on_cluster(model: Path, images: Sequence[str], out: Path | None, address: str | None) -> int:
    """Classify on a cluster; the same command goes on with what an interrupted one left."""
    if out is None:
        raise ConfigError("predict --ray writes Parquet files; say where with --out DIR")
    from tellapart.cli.terminal import Bars
    from tellapart.deploy.batch import predict_files

    paths = [Path(path) for image in images for path in _paths(image)]
    n_unreadable = predict_files(model, paths, out, address=address, progress=Bars())
    tell(f"answers to {len(paths)} images in {out}, {n_unreadable} of them errors")
    return 1 if n_unreadable else 0


def _paths(image: str) -> Iterable[str]:
    """Return the path of a file, those of a folder's images, or the lines of standard input as they come."""
    if image == "-":
        return (line.rstrip("\r\n") for line in sys.stdin if line.strip())
    return image_paths(image)


class _Table:
    """Aligned text for people."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.width = max(len(name) for name in class_names)

    def start(self) -> None:
        """Print nothing."""

    def row(self, answer: "Answer") -> None:
        """Print label, probability and path, or the reason."""
        path = printable(answer.source)
        if answer.probability is None:
            tell(f"{'-':<{self.width}}       -  {path}: {answer.reason}")
        else:
            unsure = "  (a person is to decide)" if answer.abstained else ""
            tell(f"{answer.label:<{self.width}}  {answer.probability:6.1%}  {path}{unsure}")

    def end(self) -> None:
        """Print nothing."""


class _Json:
    """One JSON list, an item per line."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = class_names
        self.separator = "[\n"

    def start(self) -> None:
        """Print nothing: the first row opens the list."""

    def row(self, answer: "Answer") -> None:
        """Print one item."""
        item: dict[str, Any] = {"path": answer.source}
        if answer.y_prob is None:
            item["error"] = answer.reason
        else:
            item |= {"label": answer.label, "probability": answer.probability}
            item["probabilities"] = dict(zip(self.class_names, answer.y_prob.tolist(), strict=True))
            item["abstained"] = answer.abstained
        sys.stdout.write(self.separator + json.dumps(item))
        self.separator = ",\n"

    def end(self) -> None:
        """Close the list."""
        sys.stdout.write("[]\n" if self.separator == "[\n" else "\n]\n")


class _Csv:
    """The columns of predictions.csv without the true label; last, whether a person is to decide."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = class_names
        self.writer = csv.writer(sys.stdout, lineterminator="\n")

    def start(self) -> None:
        """Print the header."""
        probabilities = (f"prob_{name}" for name in self.class_names)
        self.writer.writerow(["path", "predicted", "error", *probabilities, "abstained"])

    def row(self, answer: "Answer") -> None:
        """Print one line."""
        if answer.y_prob is None:
            values = [""] * (len(self.class_names) + 1)
        else:
            values = [*answer.y_prob.tolist(), str(answer.abstained).lower()]
        self.writer.writerow([answer.source, answer.label or "", answer.reason or "", *values])

    def end(self) -> None:
        """Print nothing."""
