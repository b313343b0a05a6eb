"""`tellapart evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli.terminal import Bars, show_figures, show_skipped, tell


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle or a run folder.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder per class, or a manifest.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where report and figures go.")],
    group_by: Annotated[str | None, typer.Option(help="Manifest column for clustered intervals.")] = None,
    merge: Annotated[
        list[str] | None, typer.Option(metavar="NEW=OLD,OLD", help="Join classes of DATA, and of MODEL.")
    ] = None,
    include_training: Annotated[
        bool, typer.Option("--include-training", help="Keep images that trained the model.")
    ] = False,
    external: Annotated[
        bool, typer.Option("--external", help="DATA come from another place or time than the training data.")
    ] = False,
) -> int:
    """Test MODEL on the images of DATA that it did not train on."""
    from tellapart import api
    from tellapart.cli.data import load_data, merge_rules
    from tellapart.cli.train import FIGURES
    from tellapart.evaluation.provenance import facts_of_test

    dataset = load_data(data)
    if group_by:
        dataset = dataset.grouped_by(group_by)
    classifier = api.load(model)
    evaluation = api.evaluate(
        classifier,
        dataset,
        merge=merge_rules(merge or []),
        include_training=include_training,
        progress=Bars(),
    )
    facts = facts_of_test(classifier.bundle, dataset, evaluation.predictions, external=external)
    evaluation.save(out, facts=facts, images=dataset.thumbnail)
    trained = [s for s in evaluation.predictions.skipped if s.reason == api.TRAINED_ON_IT]
    if trained:
        tell(f"{len(trained)} images that trained this model are left out")
    show_skipped([s for s in evaluation.predictions.skipped if s.reason != api.TRAINED_ON_IT])
    tell(f"on {len(evaluation.predictions)} images:")
    show_figures(evaluation.headline, FIGURES)
    tell(f"report  {out / 'report.html'}")
    return 0
