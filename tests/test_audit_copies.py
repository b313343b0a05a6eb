"""Copies are told by cluster, what is wrong with them first."""

from dataclasses import replace

import numpy as np

from made_up import made_up
from tellapart.audit.copies import findings
from tellapart.data.duplicates import Duplicates


def pairs(dataset, *found):
    """Near-duplicates by position, with their similarity."""
    return Duplicates(
        len(dataset),
        np.array([pair[:2] for pair in found], np.int64).reshape(-1, 2),
        np.array([pair[2] for pair in found], np.float32),
    )


def test_clean_images_have_no_findings():
    dataset = made_up("aabb")
    assert findings(dataset, pairs(dataset)) == []


def test_each_cluster_is_told_with_its_pairs():
    dataset = made_up("aaabb")
    (found,) = findings(dataset, pairs(dataset, (0, 1, 0.96), (1, 2, 0.98)))
    assert (found.kind, found.severity) == ("near-duplicates", "note")
    assert found.sample_ids == ("a/000", "a/001", "a/002")
    assert found.message.startswith("3 near-duplicates (a/000, a/001, a/002) are kept on one side")
    assert found.details["pairs"] == [["a/001", "a/002", 0.98], ["a/000", "a/001", 0.96]]


def test_identical_files_are_told_even_if_they_show_nothing():
    dataset = made_up("aabb", contents=["1", "1", "2", "3"])
    (found,) = findings(dataset, pairs(dataset))
    assert (found.kind, found.severity) == ("identical files", "note")
    assert found.details["pairs"] == [["a/000", "a/001", 1.0]]


def test_a_file_that_cannot_be_read_is_no_copy_of_another():
    dataset = made_up("aabb", contents=["", "", "", ""])
    assert findings(dataset, pairs(dataset)) == []


def test_conflicting_labels_come_first_and_name_the_labels():
    dataset = made_up("aabbb", contents=["1", "1", "2", "3", "4"])
    copies, conflict = (0, 1, 1.0), (3, 4, 0.97)
    found = findings(
        replace(dataset, samples=dataset.samples), pairs(dataset, copies, (1, 2, 0.96), conflict)
    )
    assert [finding.kind for finding in found] == ["conflicting labels", "near-duplicates"]
    assert found[0].severity == "warning"
    assert "have different labels: a, b." in found[0].message
    assert found[0].details["labels"] == {"a/000": "a", "a/001": "a", "b/002": "b"}


def test_a_cluster_on_two_sides_is_an_error_beside_its_conflict():
    dataset = made_up("abaa", splits=["train", "test", "train", "train"])
    found = findings(dataset, pairs(dataset, (0, 1, 0.97), (2, 3, 0.99)))
    assert [finding.kind for finding in found] == ["conflicting labels", "leak", "near-duplicates"]
    leak = found[1]
    assert (leak.severity, leak.sample_ids) == ("error", ("a/000", "b/001"))
    assert "several sides of the split: test, train" in leak.message
    assert leak.details["splits"] == {"a/000": "train", "b/001": "test"}


def test_of_a_large_cluster_three_are_named():
    dataset = made_up("a" * 6, contents=["1"] * 6)
    (found,) = findings(dataset, pairs(dataset))
    assert found.message.startswith("6 identical files (a/000, a/001, a/002 and 3 more)")
    assert len(found.sample_ids) == 6
