"""The bundle's README.md: what the model is for people who were not there when it was trained."""

from collections.abc import Mapping
from typing import Any

from tellapart.bundle import Card

_SHOWN = (
    "accuracy",
    "balanced_accuracy",
    "roc_auc_macro",
    "sensitivity",
    "specificity",
    "log_loss",
    "ece",
)


def render_model_card(card: Card) -> str:
    """Return Markdown."""
    lines = [
        f"# A classifier of {', '.join(card.class_names)}",
        "",
        f"Made by tellapart {card.versions.get('tellapart', '?')} from "
        f"{card.dataset['n_samples']} training images: "
        + ", ".join(f"{name} {n}" for name, n in card.dataset["counts"].items())
        + ".",
        "",
        "## Use",
        "",
        "```",
        "tellapart predict THIS_FOLDER IMAGE...",
        "```",
        "",
        f"`model.onnx` takes uint8 RGB pixels of shape (n, {card.preprocessing.size}, "
        f"{card.preprocessing.size}, 3), upright and {_fit_words(card)}, and returns probabilities of "
        f"shape (n, {len(card.class_names)}) in the order {', '.join(card.class_names)}. Normalisation, "
        f"softmax and the temperature ({card.temperature:.3g}) are inside it.",
        "",
        "## Figures",
        "",
        *_figures(card.figures),
        "",
        "## How it decides",
        "",
        _decision(card),
        "",
        "## Limits",
        "",
        "- It has seen only images like those it was trained on, and gives one of its classes for any "
        "image at all: a class it was never shown cannot be answered.",
        "- The figures hold for images of the same source. Other cameras, sites or patients need a test "
        "of their own (`tellapart evaluate`).",
        "- Not a medical device. A person decides.",
        "",
        "## Provenance",
        "",
        f"- Precision: {card.precision}; largest difference in probability from the trained network on "
        f"{card.parity['n_images']} images: {card.parity['max_difference']:.2g}",
        f"- Backbone: {card.backbone['name']}, from {card.backbone['weights']} "
        f"(licence: {card.backbone['weights_licence']})",
        f"- Training data: fingerprint {card.dataset['fingerprint'][:16]}…",
        "- Versions: " + ", ".join(f"{name} {number}" for name, number in card.versions.items()),
        "",
    ]
    return "\n".join(lines)


def _figures(figures: Mapping[str, Any]) -> list[str]:
    if not figures:
        return ["No test set was held out in the run that made this model."]
    rows = ["| figure (test set) | value | 95 % interval |", "|---|---|---|"]
    for name in _SHOWN:
        figure = figures.get(name)
        if figure and figure["value"] is not None:
            interval = "–".join(f"{end:.3f}" for end in figure["ci95"]) if figure["ci95"] else "not estimable"
            rows.append(f"| {name.replace('_', ' ')} | {figure['value']:.3f} | {interval} |")
    return rows


def _fit_words(card: Card) -> str:
    if card.preprocessing.fit == "squash":
        return "scaled to the square on both edges"
    return f"the centre {card.preprocessing.crop_fraction:.0%} of the short edge cut out and scaled"


def _decision(card: Card) -> str:
    if card.threshold is None:
        return "The most probable class is the label."
    threshold = card.threshold
    said = (
        f"The label is {threshold.positive} when its probability reaches {threshold.value:.3f} "
        f"({threshold.rule}, chosen on {threshold.chosen_on} data, never on the test set)."
    )
    if threshold.band is not None:
        low, high = threshold.band
        said += f" From {low:.3f} up to below {high:.3f} a person is to decide."
    if threshold.chosen_by:
        said += f" Chosen by {threshold.chosen_by} at {threshold.at}, because: {threshold.why}"
    return said
