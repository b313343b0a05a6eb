"""`tellapart train`."""

import shlex
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tellapart.cli.options import AllowLeaks, Data, GroupBy, NearDuplicates
from tellapart.cli.terminal import complain, show_figures, show_skipped, shown_progress, tell
from tellapart.errors import ConfigError

if TYPE_CHECKING:
    from tellapart.training.run import Run

FIGURES = (
    "accuracy",
    "balanced_accuracy",
    "roc_auc_macro",
    "sensitivity",
    "specificity",
    "mcc",
    "log_loss",
    "ece",
)


def train(
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the run.")],
    mode: Annotated[
        Literal["auto", "features", "finetune"],
        typer.Option(help="auto: features without a GPU, finetune with one."),
    ] = "auto",
    backbone: Annotated[
        str | None,
        typer.Option(help="efficientnet_lite0, resnet18, any torchvision name, timm:NAME."),
    ] = None,
    weights: Annotated[str, typer.Option(help="imagenet, none, or a .safetensors/.pth file.")] = "imagenet",
    image_size: Annotated[int | None, typer.Option(help="Edge in pixels; default the network's own.")] = None,
    fit: Annotated[
        Literal["squash", "crop"],
        typer.Option(help="Make images square by scaling both edges, or a centre crop."),
    ] = "squash",
    head: Annotated[Literal["logistic", "svm"], typer.Option(help="The head over features.")] = "logistic",
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option()] = "auto",
    balance: Annotated[
        bool,
        typer.Option("--balance", help="Weigh classes inversely to their frequency."),
    ] = False,
    test_size: Annotated[float, typer.Option(help="Part held out for testing.")] = 0.2,
    split: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A split.csv of an earlier run."),
    ] = None,
    group_by: GroupBy = None,
    near_duplicates: NearDuplicates = True,
    allow_leaks: AllowLeaks = False,
    merge: Annotated[
        list[str] | None,
        typer.Option(metavar="NEW=OLD,OLD", help="Join classes; may be repeated."),
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Cross-validate instead of one held-out set.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    epochs: Annotated[int | None, typer.Option()] = None,
    batch_size: Annotated[int | None, typer.Option()] = None,
    learning_rate: Annotated[
        str | None,
        typer.Option(help="Peak rate, or one per epoch: 0.05*7,0.005*7,0.0005"),
    ] = None,
    optimizer: Annotated[Literal["adamw", "sgd"], typer.Option()] = "adamw",
    momentum: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    weight_decay: Annotated[float | None, typer.Option(min=0, help="L2.")] = None,
    dropout: Annotated[float | None, typer.Option()] = None,
    label_smoothing: Annotated[float | None, typer.Option()] = None,
    backbone_rate: Annotated[
        float | None, typer.Option(min=0, max=1, help="Pretrained layers' rate, part of the head's.")
    ] = None,
    head_start: Annotated[
        Literal["probe", "random"],
        typer.Option(help="Start from the head that fits the frozen features, or anew."),
    ] = "probe",
    head_epochs: Annotated[
        int | None, typer.Option(min=0, help="Epochs in which only the head learns.")
    ] = None,
    warmup_epochs: Annotated[int | None, typer.Option(min=0)] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=0, help="Epochs without progress before stopping; 0 never."),
    ] = None,
    augment: Annotated[Literal["none", "light", "standard", "strong"], typer.Option()] = "standard",
    val_size: Annotated[float | None, typer.Option(help="Part of the rest held out for choosing.")] = None,
    tensorboard: Annotated[Path | None, typer.Option(metavar="DIR")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    positive: Annotated[
        str | None,
        typer.Option(help="Of two classes the positive one; default the last."),
    ] = None,
    target_sensitivity: Annotated[
        float | None,
        typer.Option(help="Choose the threshold that reaches it on validation data."),
    ] = None,
    intended_use: Annotated[str, typer.Option(help="A sentence for the report.")] = "",
    labelled_by: Annotated[str, typer.Option(help="Who gave the labels, for the report.")] = "",
    workers: Annotated[int | None, typer.Option(min=0, help="Threads that decode images.")] = None,
) -> int:
    """Train a classifier on DATA; write RUN/model and RUN/evaluation."""
    options = locals()
    from tellapart.api import train as train_run
    from tellapart.cli.data import load_data
    from tellapart.training.config import TrainConfig
    from tellapart.training.partition import apply_split
    from tellapart.training.run import Notes

    names = {field.name for field in fields(TrainConfig)}
    given = {name: value for name, value in options.items() if name in names and value is not None}
    if learning_rate is not None:
        given["learning_rate"] = _rates(learning_rate)
    if patience == 0:
        given["patience"] = None
    config = TrainConfig(**given)
    dataset = load_data(data, merge or [])
    if split is not None:
        dataset = apply_split(dataset, split)
    notes = Notes(
        "tellapart " + " ".join(shlex.quote(word) for word in sys.argv[1:]), intended_use, labelled_by
    )
    try:
        run = train_run(dataset, config, out, resume=resume, notes=notes, progress=shown_progress())
    except KeyboardInterrupt:
        complain("interrupted; the same command with --resume goes on")
        return 130
    show_run(run)
    return 0


def show_run(run: "Run") -> None:
    """Print what a run found and where it lies."""
    show_skipped(run.dataset.ledger)
    if run.evaluation is None:
        tell("no test set was named in the data: test with `tellapart evaluate RUN DATA --out DIR`")
    else:
        n = len(run.evaluation.predictions)
        tell(f"on {n} test images that the model never saw:")
        show_figures(run.evaluation.headline, FIGURES)
        tell(f"report  {run.folder / 'evaluation' / 'report.html'}")
    tell(f"model   {run.folder / 'model'}")
    tell(f"took    {run.details['seconds']:.0f} s")


def _rates(text: str) -> float | list[float]:
    """Read one rate, or a schedule such as ``0.05*7,0.005*7,0.0005``; brackets are allowed."""
    try:
        rates: list[float] = []
        for part in text.replace("[", "").replace("]", "").replace("+", ",").split(","):
            rate, _, times = part.partition("*")
            rates += [float(rate)] * (int(times) if times else 1)
    except ValueError as exc:
        raise ConfigError(
            f"learning rate {text!r} is not understood; give 0.001, or one rate per epoch as 0.05*7,0.005*7"
        ) from exc
    return rates if "," in text or "*" in text or "+" in text else rates[0]
