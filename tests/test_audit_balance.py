"""Classes, groups and subgroups: counted, and reported when there are too few."""

from pathlib import Path

import pytest

from tellapart.audit.balance import counts, findings
from tellapart.data.dataset import Dataset
from tellapart.records import Sample


def dataset(*parts: tuple[int, str, dict[str, str]], groups: bool = False) -> Dataset:
    """So many images of a class with these metadata; `group` among these is the sample's group."""
    samples = []
    for n, label, metadata in parts:
        for _ in range(n):
            columns = dict(metadata)
            group = columns.pop("group", None)
            samples.append(Sample(f"{len(samples):04d}.png", Path("x"), label, None, group, columns))
    return Dataset(tuple(samples), tuple(sorted({label for _, label, _ in parts})))


def kinds(*parts: tuple[int, str, dict[str, str]]) -> list[str]:
    return [finding.kind for finding in findings(dataset(*parts))]


def test_enough_of_everything_gives_no_findings():
    sexes = [(30, label, {"sex": sex}) for label in ("cat", "dog") for sex in ("f", "m")]
    assert kinds(*sexes) == []


def test_one_class_is_none():
    (finding,) = findings(dataset((30, "cat", {})))
    assert (finding.kind, finding.severity) == ("single class", "warning")
    assert "found: cat" in finding.message


def test_small_classes_are_named_smallest_first():
    (finding,) = findings(dataset((19, "cat", {}), (5, "dog", {}), (20, "owl", {})))
    assert (finding.kind, finding.severity) == ("small class", "warning")
    assert finding.message.startswith("fewer than 20 images of dog (5), cat (19): ")
    assert finding.details == {"images": {"dog": 5, "cat": 19}}


def test_many_images_of_few_patients_are_few():
    patients = [(10, label, {"group": f"{label}{i}"}) for label in ("cat", "dog") for i in range(4)]
    many = [(2, "owl", {"group": f"owl{i}"}) for i in range(25)]
    (finding,) = findings(dataset(*patients, *many))
    assert finding.message.startswith("fewer than 20 groups of cat (4), dog (4): ")
    assert finding.details == {"groups": {"cat": 4, "dog": 4}}


@pytest.mark.parametrize(("n", "expected"), [(199, []), (200, ["imbalance"])])
def test_ten_of_one_for_one_of_another_are_unequal(n, expected):
    assert kinds((n, "cat", {}), (20, "dog", {})) == expected


def test_the_ratio_is_said():
    (finding,) = findings(dataset((700, "cat", {}), (100, "cow", {}), (20, "dog", {})))
    assert finding.message.startswith("35 images of cat for each one of dog: ")
    assert finding.details == {"ratio": 35, "images": {"cat": 700, "cow": 100, "dog": 20}}


def test_a_class_that_is_mostly_one_patient():
    single = [(1, label, {}) for label in ("cat", "dog") for _ in range(25)]
    (finding,) = findings(dataset(*single, (25, "cat", {"group": "p7"})))
    assert (finding.kind, finding.severity) == ("large group", "warning")
    assert "the group p7 holds 25 of the 50 images of cat" in finding.message
    assert len(finding.sample_ids) == 25
    assert len(kinds(*single, (24, "cat", {"group": "p7"}))) == 0


def test_small_subgroups_are_counted_per_column():
    (finding,) = findings(
        dataset(
            (40, "cat", {"sex": "f", "site": "arm"}),
            (15, "cat", {"sex": "m", "site": "arm"}),
            (40, "dog", {"sex": "f", "site": "arm"}),
            (3, "dog", {"sex": "m", "site": "leg"}),
            (7, "dog", {"sex": "", "site": "leg"}),
            (40, "dog", {"sex": "f", "site": "leg"}),
        )
    )[:1]
    assert (finding.kind, finding.severity) == ("small subgroup", "note")
    assert finding.message.startswith("fewer than 20 images where sex is m (18): ")
    assert finding.details == {"column": "sex", "images": {"m": 18}}
    assert len(finding.sample_ids) == 18


def test_a_subgroup_without_a_class_it_should_have():
    parts = [(50, "cat", {"sex": "f"}), (50, "dog", {"sex": "m"}), (50, "dog", {"sex": "f"})]
    (finding,) = findings(dataset(*parts))
    assert (finding.kind, finding.severity) == ("one-sided subgroup", "note")
    assert "sex rules out classes (m has no cat)" in finding.message
    assert finding.details == {"column": "sex", "missing": {"m": ["cat"]}}
    # 20 of m among 120, a third of them cats: seven or so would be missing, which happens.
    assert kinds((40, "cat", {"sex": "f"}), (20, "dog", {"sex": "m"}), (60, "dog", {"sex": "f"})) == []


def test_numbers_are_cut_at_quartiles_and_serial_numbers_are_no_subgroups():
    ages = [(10, ("cat", "dog")[age % 2], {"age": str(age)}) for age in range(20, 60)]
    table = counts(dataset(*ages))["subgroups"]["age"]
    assert list(table) == ["20 to 30", "30 to 40", "40 to 49", "49 to 59"]
    assert sum(n for row in table.values() for n in row.values()) == 400
    assert all(80 <= sum(row.values()) <= 120 for row in table.values())
    serial = [(1, ("cat", "dog")[i % 2], {"number": str(i), "name": f"n{i}"}) for i in range(100)]
    assert counts(dataset(*serial))["subgroups"] == {}


@pytest.mark.parametrize("odd", ["nan", "inf"])
def test_columns_of_odd_numbers_are_left_alone(odd):
    rows = [(4, "cat", {"age": str(age)}) for age in range(20)] + [(4, "dog", {"age": odd})]
    assert counts(dataset(*rows))["subgroups"] == {}


def test_counts_are_complete():
    made = dataset(
        (3, "cat", {"sex": "f", "group": "p1"}),
        (2, "cat", {"sex": "m", "group": "p2"}),
        (1, "dog", {"sex": "m", "group": "p2"}),
        (1, "dog", {"sex": ""}),
    )
    assert counts(made) == {
        "n_images": 7,
        "classes": {"cat": 5, "dog": 2},
        "groups": {"cat": 2, "dog": 2},
        "subgroups": {"sex": {"f": {"cat": 3, "dog": 0}, "m": {"cat": 2, "dog": 1}}},
    }
    assert counts(dataset((2, "cat", {}), (2, "dog", {})))["groups"] is None


def test_columns_that_say_the_label_again_are_no_subgroups():
    """A site that sends one class only is worth a word; a fetched manifest's diagnosis is not."""
    sides = [
        (30, "cat", {"site": "A", "diagnosis_1": "Cat"}),
        (30, "dog", {"site": "B", "diagnosis_1": "Dog"}),
    ]
    (finding,) = findings(dataset(*sides))
    assert finding.details["column"] == "site"
