"""What is said of a threshold, and of calling images positive or negative by it: in sentences."""

from tellapart.studio.operation import Json
from tellapart.studio.wording import count, figure


def counted(told: Json) -> Json:
    """Return the shares of an operating point for a table, and its counts in a sentence."""
    from tellapart.evaluation.operating_points import SHARES

    shares = [figure(name, told["figures"][name]) for name in SHARES]
    return {
        "shares": [one if one["value"] is not None else {**one, "range": "no such image"} for one in shares],
        "counted": f"{told['tp']:,} true and {told['fp']:,} false positives, {told['tn']:,} true and "
        f"{told['fn']:,} false negatives.",
    }


def basis(
    positive: str, others: str, n: int, n_positive: int, *, is_out_of_fold: bool, is_grouped: bool
) -> str:
    """Say on which images a threshold is chosen."""
    scored = (
        "each scored by a model that had not learned from it (out of fold)"
        if is_out_of_fold
        else "which the model did not learn from"
    )
    groups = ", images of one group counted together" if is_grouped else ""
    return (
        f"{count(n, 'image')}, {n_positive:,} {positive} and {n - n_positive:,} {others}, {scored}. "
        f"The test set is not in any figure here. Intervals are 95 %{groups}."
    )


def looks(n_choices: int, n_test: int) -> str:
    """Say how often the test set was looked at; empty where there is none."""
    if not n_test:
        return ""
    chosen = "one choice" if n_choices == 1 else f"each of {n_choices} choices"
    after = f", and with {chosen} of a threshold" if n_choices else ""
    return (
        f"The test set of this run ({count(n_test, 'image')}) has been looked at {_times(n_choices + 1)}: "
        f"after training{after}. Choosing again because of what the test said makes its figures optimistic."
    )


def shared(n: int, n_test: int) -> str:
    """Say how many test images a threshold is chosen on; empty if none."""
    if not n:
        return ""
    return (
        f"{n:,} of the {n_test:,} test images are also among these validation images, as after a "
        "cross-validation: test figures at a threshold chosen here are optimistic."
    )


def flips(n: int, to: str, n_right: int, threshold: float) -> str:
    """Say what changes against the threshold in use."""
    used = short(threshold)
    if not n:
        return f"No image is called otherwise than at the threshold in use, {used}."
    become = "becomes" if n == 1 else "become"
    return (
        f"Against the threshold in use, {used}, {count(n, 'image')} {become} {to}: {n_right:,} of them "
        f"rightly, {n - n_right:,} wrongly."
    )


def band(told: Json, ends: tuple[float, float], positive: str, others: str, n: int) -> str:
    """Say what a model answers where a person decides between two thresholds."""
    low, high = map(short, ends)
    return (
        f"Below {low} the model says {others}, from {high} {positive}. In between, {told['referred']:,} of "
        f"{count(n, 'image')} go to a person: {_share(told['figures']['referred'])}."
    )


def tested(test: Json, *, overlap: bool) -> Json:
    """Return how to introduce what the test set says, `counted`, and with a band what becomes of the rest."""
    how = (
        "which shares images with the validation data"
        if overlap
        else "shown here once; the report keeps them"
    )
    told = {**counted(test), "says": f"On the test set ({count(test['n'], 'image')}), {how}:", "band": ""}
    if referral := test["referral"]:
        referred, sensitivity, specificity = (
            _share(referral[name]) for name in ("referred", "sensitivity", "specificity")
        )
        told["band"] = (
            f"With the band, {referred} go to a person; of the rest, sensitivity is {sensitivity}, "
            f"specificity {specificity}. Above, images of the band count as positive."
        )
    return told


def short(value: float) -> str:
    """Write a threshold with three digits."""
    return f"{value:.3g}"


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


def _share(estimate: Json) -> str:
    told = figure("sensitivity", estimate)
    return f"{told['says']} ({told['range']})"
