"""Shortcuts: planted ones are found, and chance is not taken for one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from tellapart.audit.looks import Look
from tellapart.audit.shortcuts import SIGNALS, balanced_accuracy, findings
from tellapart.data.dataset import Dataset
from tellapart.records import Sample

LOOK = Look(
    640, 480, "JPEG", "RGB", 50_000, 11.5, 0.5, 0.2, 0.2, 0.8, 7, 0.3, 0.2, (0.5,) * 3, (0.0,) * 4, ()
)


def ordinary(n: int = 120, n_classes: int = 2, seed: int = 0) -> tuple[Dataset, list[Look]]:
    """Images whose figures have nothing to do with their classes."""
    rng = np.random.default_rng(seed)
    names = tuple(f"class{c}" for c in range(n_classes))
    samples = [Sample(f"{i:04d}.jpg", Path("x"), names[i % n_classes]) for i in range(n)]
    looks = [
        replace(
            LOOK,
            n_bytes=int(rng.integers(40_000, 60_000)),
            width=int(rng.choice([640, 800])),
            brightness=float(rng.normal(0.5, 0.05)),
            contrast=float(rng.normal(0.2, 0.02)),
            blur=float(rng.normal(0.3, 0.03)),
            colour=tuple(rng.normal(0.5, 0.05, 3).tolist()),
            clues=("time",) if rng.random() < 0.5 else (),
        )
        for _ in samples
    ]
    return Dataset(tuple(samples), names), looks


def planted(dataset: Dataset, looks: list[Look], label: str, **figures) -> list[Look]:
    """The looks, with these figures for all images of a class."""
    return [
        replace(look, **figures) if sample.label == label else look
        for sample, look in zip(dataset.samples, looks, strict=True)
    ]


def alone(dataset: Dataset) -> list[int]:
    return list(range(len(dataset)))


@pytest.mark.parametrize("n_classes", [2, 5])
def test_chance_is_no_shortcut(n_classes):
    for seed in range(10):
        dataset, looks = ordinary(n_classes=n_classes, seed=seed)
        assert findings(dataset, looks, alone(dataset)) == []


PLANTED = {
    "image size": {"width": 600, "height": 450},
    "file format": {"format": "PNG", "quantisation": 0.0},
    "border": {"border": (0.1, 0.0, 0.1, 0.0)},
    "metadata": {"clues": ("device", "time")},
    "mean colour": {"colour": (0.9, 0.3, 0.3)},
    "light": {"brightness": 0.9},
    "sharpness": {"blur": 0.6},
}


def test_every_signal_is_planted_here():
    assert [signal.name for signal in SIGNALS] == list(PLANTED)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_shortcut_is_found_and_nothing_else(name):
    dataset, looks = ordinary()
    (finding,) = findings(dataset, planted(dataset, looks, "class1", **PLANTED[name]), alone(dataset))
    signal = next(signal for signal in SIGNALS if signal.name == name)
    assert (finding.kind, finding.severity) == ("shortcut", signal.severity)
    assert finding.details["signal"] == name
    assert finding.details["balanced_accuracy"]["value"] > 0.95
    assert finding.details["chance"] == 0.5
    assert finding.message.startswith(f"{name} alone tells the classes apart: balanced accuracy ")


def with_column(dataset: Dataset, values: list[str]) -> Dataset:
    samples = [
        replace(sample, metadata={"hospital": value})
        for sample, value in zip(dataset.samples, values, strict=True)
    ]
    return replace(dataset, samples=tuple(samples))


def test_a_metadata_column_that_predicts_the_label_is_told():
    dataset, looks = ordinary()
    rng = np.random.default_rng(0)
    of_class = {"class0": ["Graz", "Oslo"], "class1": ["Rome", "Wien"]}
    sure = with_column(dataset, [str(rng.choice(of_class[s.label])) for s in dataset.samples])
    (found,) = findings(sure, looks, alone(dataset))
    assert (found.kind, found.severity) == ("shortcut", "note")
    assert found.message.startswith("the manifest's column hospital alone tells the classes apart")
    assert found.details["balanced_accuracy"]["value"] == 1
    mixed = with_column(dataset, [str(rng.choice(["Graz", "Rome"])) for _ in dataset.samples])
    assert findings(mixed, looks, alone(dataset)) == []


def test_half_of_one_class_of_four_in_another_format_is_enough():
    dataset, looks = ordinary(240, 4)
    odd = [
        replace(look, format="PNG") if sample.label == "class2" and int(sample.id[:4]) % 8 == 2 else look
        for sample, look in zip(dataset.samples, looks, strict=True)
    ]
    (finding,) = findings(dataset, odd, alone(dataset))
    assert finding.details["recall"]["class2"] == pytest.approx(0.5)


def test_typical_values_say_what_differs():
    dataset, looks = ordinary()
    tinted = planted(dataset, looks, "class0", colour=(0.9, 0.3, 0.3), format="PNG")
    of_format, of_colour = findings(dataset, tinted, alone(dataset))
    assert {name: row["format"] for name, row in of_format.details["typical"].items()} == {
        "class0": "PNG",
        "class1": "JPEG",
    }
    red = {name: row["red"] for name, row in of_colour.details["typical"].items()}
    assert red == pytest.approx({"class0": 0.9, "class1": 0.5}, abs=0.05)


def test_a_patient_recognised_by_size_is_no_shortcut():
    # Every patient's images have a size of their own; between patients it says nothing.
    dataset, looks = ordinary(200)
    rng = np.random.default_rng(0)
    patient = rng.permutation(np.repeat(np.arange(20), 5).tolist() * 2)
    groups = [2 * int(patient[i]) + i % 2 for i in range(200)]
    sizes = rng.integers(300, 900, 40)
    sized = [replace(look, width=int(sizes[group])) for look, group in zip(looks, groups, strict=True)]
    assert [f.details["signal"] for f in findings(dataset, sized, alone(dataset))] == ["image size"]
    assert findings(dataset, sized, groups) == []


def test_classes_with_too_few_images_take_no_part():
    dataset, looks = ordinary()
    rare = tuple(Sample(f"r{i}.jpg", Path("x"), "rare") for i in range(4))
    more = Dataset(dataset.samples + rare, ("class0", "class1", "rare"))
    png = planted(dataset, looks, "class1", format="PNG")
    (finding,) = findings(more, [*png, *[LOOK] * 4], alone(more))
    assert list(finding.details["recall"]) == ["class0", "class1"]


@pytest.mark.parametrize("groups", [[0] * 60 + [1] * 60, list(range(4)) * 30])
def test_too_few_independent_images_are_said_to_be_so(groups):
    dataset, looks = ordinary()
    (finding,) = findings(dataset, looks, groups)
    assert (finding.kind, finding.severity) == ("shortcut", "note")
    assert "needs 5 independent images in each of two classes" in finding.message


def test_the_same_data_give_the_same_findings():
    dataset, looks = ordinary()
    looks = planted(dataset, looks, "class1", blur=0.5)
    assert findings(dataset, looks, alone(dataset)) == findings(dataset, looks, alone(dataset))


@given(st.integers(0, 999), st.integers(2, 4))
def test_balanced_accuracy_is_scikit_learns(seed, n_classes):
    rng = np.random.default_rng(seed)
    y_true = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, 30)])
    y_pred = rng.integers(0, n_classes, y_true.size)
    value, _ = balanced_accuracy(y_true, y_pred, range(y_true.size))
    assert value == pytest.approx(balanced_accuracy_score(y_true, y_pred))


def test_its_error_is_that_of_two_independent_recalls():
    y_true = np.repeat([0, 1], [50, 200])
    y_pred = np.concatenate([np.repeat([0, 1], [40, 10]), np.repeat([0, 1], [20, 180])])
    value, error = balanced_accuracy(y_true, y_pred, range(250))
    assert value == pytest.approx((0.8 + 0.9) / 2)
    assert error == pytest.approx(np.sqrt(0.8 * 0.2 / 50 + 0.9 * 0.1 / 200) / 2, rel=0.01)


def test_copies_of_every_image_do_not_make_it_surer():
    rng = np.random.default_rng(1)
    y_true, y_pred = rng.integers(0, 2, 80), rng.integers(0, 2, 80)
    once = balanced_accuracy(y_true, y_pred, range(80))
    thrice = balanced_accuracy(np.tile(y_true, 3), np.tile(y_pred, 3), [*range(80)] * 3)
    assert thrice == pytest.approx(once)
