"""What is said of a run's results: in sentences, beside the figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tellapart.evaluation.measures import write_figure
from tellapart.records import Sample
from tellapart.studio.operation import Json
from tellapart.studio.tested import Tested
from tellapart.studio.wording import change, count, is_or_are, was_or_were

if TYPE_CHECKING:
    from tellapart.evaluation.paired import Paired

STORED = (
    "The figures below are those that the run stored; the grid shows labels as they are now, so that a cell "
    "may open fewer or more images."
)
CORRECTED = (
    "These figures are worked out anew under the labels in force; the run’s own stay as they are stored."
)
NOTHING_IN_COMMON = (
    "No image was tested by both runs, so that they cannot be compared image by image. Train both with the "
    "same test set (a split in the data, or the same seed and test size)."
)
NO_COLUMN = (
    "The images have no metadata column of few values, such as sex, site or age; a manifest can bring some. "
    "Then this shows whether the model is as good for everyone."
)


def basis(metrics: Json, tested: Tested, samples: Sequence[Sample]) -> str:
    """Say what stored figures stand on: which images, and from which probability on one is positive."""
    n, resampled = metrics["n_samples"], metrics.get("resampled") or {}
    groups = f" of {resampled['n_units']:,} groups" if resampled.get("unit") == "groups" else ""
    images = f"{count(n, 'image')}{groups}, {_chosen(tested, samples)}."
    return f"{images} Intervals are at 95 %.{_called(metrics)}"


def since(relabelled: int, excluded: int) -> str:
    """Say what was corrected since a run; empty if nothing was."""
    labels = f"{relabelled:,} of these labels {was_or_were(relabelled)} corrected"
    images = f"{count(excluded, 'image')} {was_or_were(excluded)} left out"
    return " and ".join(text for n, text in ((relabelled, labels), (excluded, images)) if n)


def gone(n: int, n_tested: int) -> str:
    """Say how many of the tested images cannot be shown; empty if all can."""
    images = f"{count(n, 'image')} of {n_tested:,} that this run tested {is_or_are(n)}"
    return f"{images} not in this folder and cannot be shown." if n else ""


def caution(subgroups: Sequence[Json]) -> str:
    """Say how to read the figures of subgroups."""
    from tellapart.evaluation.subgroups import FEW

    if not subgroups:
        return NO_COLUMN
    small = sum(one["small"] for one in subgroups)
    few = f" {small} of them: fewer than {FEW} independent images, which say little." if small else ""
    return (
        f"Of {len(subgroups)} subgroups some differ by chance alone: look at the intervals, and at a "
        f"difference that other data show too.{few}"
    )


def compared(first: str, second: str, paired: "Paired") -> list[str]:
    """Say how two runs differ: what comes before the difference, the difference, and what comes after."""
    right, was = (write_figure(hits.mean(), "accuracy") for hits in (paired.second, paired.first))
    ends = paired.difference.ci95
    interval = f" (95 % interval {' to '.join(change('accuracy', end) for end in ends)})" if ends else ""
    p = "< 0.001" if paired.p_value < 0.001 else f"= {paired.p_value:.3f}"
    chance = "could explain" if ends is None or ends[0] <= 0 <= ends[1] else "hardly explains"
    return [
        f"On {count(len(paired.first), 'image')} that both tested, {second} is right on {right} and {first} "
        f"on {was}: a difference of ",
        change("accuracy", float(paired.difference)),
        f"{interval}. McNemar’s exact test: p {p}. Chance alone {chance} it.",
    ]


def notes(relabelled: int, paired: "Paired") -> list[str]:
    """Say what else to know about a comparison."""
    groups = (
        "Several images come from one group, so that the test’s p is too small; the interval takes the "
        "groups into account."
    )
    have = "has" if relabelled == 1 else "have"
    labels = (
        f"Both are judged by the labels in force; {count(relabelled, 'image')} {have} another one than when "
        "a run was made."
    )
    return [text for is_so, text in ((not paired.independent, groups), (relabelled, labels)) if is_so]


def _chosen(tested: Tested, samples: Sequence[Sample]) -> str:
    """Say how the images that were tested were chosen."""
    config, record = tested.run.config, tested.run.record
    if config.get("folds"):
        made = f"each tested by the one of {config['folds']} models that had not seen it (cross-validation)"
    elif any(samples[i].split == "test" for i in tested.number.tolist() if i >= 0):
        made = "which the data name as test images"
    elif "test_size" in config:
        made = f"held out at random before training ({config['test_size']:.0%} of the data)"
    else:
        made = "which the model had not seen"
    apart = record.get("disjoint_by")
    return made + (f"; kept apart from the training images by {apart}" if apart else "")


def _called(metrics: Json) -> str:
    """Say from which probability on an image is called positive; empty with many classes."""
    if "threshold" not in metrics:
        return ""
    rule, data = metrics["threshold_rule"], metrics["threshold_chosen_on"]
    chosen = "a threshold that nobody chose" if data == "default" else f"{rule}, chosen on {data} data"
    positive, threshold = metrics["positive"], metrics["threshold"]
    return f" From a probability of {threshold:.3f} on, the answer is “{positive}” ({chosen})."
