"""Dealing samples into parts: no group on two sides, every class in every part."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from tellapart.data.splits import RareClass, deal, join_groups
from tellapart.errors import SplitError


def test_single_images_are_stratified_to_within_one_image():
    y = np.repeat([0, 1, 2, 3], [5, 19, 7, 32])
    part = deal(y, range(63), [1 - 0.349, 0.349], seed=0)
    assert np.bincount(y[part == 1]).tolist() == [2, 7, 2, 11]


def test_the_same_seed_deals_the_same_and_another_seed_another_way():
    y = np.repeat([0, 1], [30, 30])
    first, again, other = (deal(y, range(60), [0.8, 0.2], seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@given(
    st.integers(2, 4).flatmap(
        lambda k: st.tuples(
            st.just(k), st.lists(st.integers(1, 6), min_size=6 * k, max_size=40), st.integers(0, 99)
        )
    )
)
@settings(max_examples=60, deadline=None)
def test_groups_stay_whole_and_no_class_is_lost(case):
    k, group_sizes, seed = case
    groups = np.repeat(np.arange(len(group_sizes)), group_sizes)
    y = groups % 2  # each group of one class; both have at least 3k groups
    part = deal(y, groups.tolist(), [1 / k] * k, seed=seed)
    for group in range(len(group_sizes)):
        assert len(set(part[groups == group])) == 1
    for number in range(k):
        assert set(y[part == number]) == {0, 1}


def test_folds_are_as_even_as_scikit_learns():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 120, 600)
    y = (rng.random(120) < 0.2).astype(np.int64)[groups]

    def unevenness(fold_of):
        shares = [y[fold_of == fold].sum() / y.sum() for fold in range(5)]
        return np.std(shares)

    theirs = np.empty(600, dtype=int)
    for number, (_, test) in enumerate(StratifiedGroupKFold(5).split(y, y, groups)):
        theirs[test] = number
    ours = deal(y, groups.tolist(), [0.2] * 5, seed=0)
    assert unevenness(ours) <= unevenness(theirs) + 0.02


def test_unstratified_parts_have_the_sizes_asked_for():
    y = np.repeat([0, 1], [90, 10])
    part = deal(y, range(100), [0.7, 0.3], seed=3, stratify=False)
    assert np.bincount(part).tolist() == [70, 30]


def test_a_class_with_fewer_groups_than_parts_is_named():
    with pytest.raises(RareClass) as caught:
        deal(np.array([0, 0, 0, 1, 1]), ["a", "b", "c", "d", "d"], [0.5, 0.5], seed=0)
    assert (caught.value.class_index, caught.value.n_groups) == (1, 1)


def test_groups_that_tie_two_classes_together_cannot_be_dealt():
    # Class 1 has three groups, but two parts need both classes and one huge group holds nearly all.
    y = np.array([0] * 2 + [1] * 2)
    with pytest.raises((SplitError, RareClass)):
        deal(y, ["a", "a", "a", "a"], [0.5, 0.5], seed=0)


def test_joined_keys_chain():
    # 0 and 1 share a group, 1 and 2 share a content: all three are tied.
    assert join_groups(["g", "g", None, "h"], ["x", "y", "y", "z"]) == [0, 0, 0, 3]
    assert join_groups([None, None], [None, None]) == [0, 1]
