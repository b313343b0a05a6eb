"""Who trains, validates and tests: as the data say, or dealt; never leaking, and told where it does."""

import csv
from dataclasses import replace

import pytest

from made_up import ids, made_up
from pictures import write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.data.duplicates import NearPair
from tellapart.errors import SplitError, TooFewImages
from tellapart.training.config import TrainConfig
from tellapart.training.partition import (
    FOLD,
    Partition,
    apply_split,
    check_classes,
    clusters_parted_blindly,
    folds,
    kept_apart,
    leaks,
    partition,
    refuse_leaks,
    straddling,
    union,
    write_split,
)

FOUR_FOLDS = TrainConfig(folds=4)
PAIRS = [f"patient {i // 2}" for i in range(40)]


def groups_of(dataset):
    return {sample.group for sample in dataset.samples}


# ---- held out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("needs_val", [False, True])
def test_every_image_gets_one_part_and_its_mark(needs_val):
    dataset = made_up("a" * 20 + "b" * 20, groups=PAIRS)
    one = partition(dataset, TrainConfig(test_size=0.2, val_size=0.2), needs_val=needs_val)
    assert list(one.parts) == (["train", "val", "test"] if needs_val else ["train", "test"])
    assert ids(union(*one.parts.values())) == ids(dataset)
    assert one.test.counts == {"a": 4, "b": 4}
    for name, part in one.parts.items():
        assert {sample.split for sample in part.samples} == {name}
        assert min(part.counts.values()) > 0
    assert leaks(list(one.parts.values())) == {}


def test_a_given_split_is_honoured_and_validation_comes_from_training_images():
    dataset = made_up("aaaabbbbab", splits=["train"] * 8 + ["test"] * 2)
    assert partition(dataset, TrainConfig(), needs_val=False).val is None
    one = partition(dataset, TrainConfig(val_size=0.25), needs_val=True)
    assert ids(one.test) == ["a/008", "b/009"]
    assert one.val.counts == {"a": 1, "b": 1}
    assert not set(ids(one.val)) & set(ids(one.train))


def test_given_validation_images_are_used_and_no_others():
    dataset = made_up("aaabbbab", splits=["train"] * 6 + ["val"] * 2)
    one = partition(dataset, TrainConfig(), needs_val=True)
    assert ids(one.val) == ["a/006", "b/007"]
    assert one.test is None


def test_a_split_without_training_images_is_refused():
    with pytest.raises(SplitError, match="no training images"):
        partition(made_up("ab", splits=["test", "test"]), TrainConfig(), needs_val=False)


# ---- folds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("needs_val", [False, True])
def test_folds_test_every_image_once_and_never_part_a_group(needs_val):
    dataset = made_up("a" * 24 + "b" * 16, groups=PAIRS)
    result = folds(dataset, FOUR_FOLDS, needs_val=needs_val)
    assert len(result) == 4
    assert sorted(i for one in result for i in ids(one.test)) == ids(dataset)
    for one in result:
        assert ids(union(*one.parts.values())) == ids(dataset)
        assert not groups_of(one.train) & groups_of(one.test)
        assert (one.val is not None) == needs_val
        assert leaks(list(one.parts.values())) == {}
        assert one.test.counts == {"a": 6, "b": 4}


def test_one_image_per_group_is_dealt_as_if_there_were_no_groups():
    labels = "a" * 12 + "b" * 8
    alone = made_up(labels, groups=[f"patient {i}" for i in range(20)])
    for ours, theirs in zip(
        folds(alone, FOUR_FOLDS, needs_val=False),
        folds(made_up(labels), FOUR_FOLDS, needs_val=False),
        strict=True,
    ):
        assert ids(ours.test) == ids(theirs.test)


def test_the_training_half_of_a_split_may_be_folded_but_a_given_test_set_may_not():
    train, _ = made_up("a" * 12 + "b" * 12).split(0.25)
    assert sum(len(one.test) for one in folds(train, TrainConfig(folds=3), needs_val=False)) == len(train)
    with pytest.raises(SplitError, match="leave out --folds"):
        folds(
            made_up("abab", splits=["train", "train", "test", "test"]), TrainConfig(folds=2), needs_val=False
        )


def test_too_few_images_for_so_many_folds_names_the_class():
    with pytest.raises(TooFewImages, match="class 'b' has 3 independent images or groups, but 4 parts"):
        folds(made_up("aaaaaabbb"), FOUR_FOLDS, needs_val=False)


# ---- leaks and missing classes --------------------------------------------------------------------------


def test_groups_and_identical_files_on_two_sides_are_counted_with_an_example():
    whole = made_up("aaaabb", groups=["x", "y", "x", "w", "z", "z"], contents=["1", "2", "4", "2", "3", "5"])
    train, test = whole.subset([0, 1, 4]), whole.subset([2, 3, 5])
    assert leaks([train, test]) == {
        "group": "2 × group on two sides of the split, for example a/000 = a/002",
        "identical file": "1 × identical file on two sides of the split, for example a/001 = a/003",
    }


def near(dataset, *pairs):
    """Say which positions of the dataset show the same, the first pair the most similar."""
    named = [
        NearPair(dataset.samples[i].id, dataset.samples[j].id, 1 - 0.01 * n) for n, (i, j) in enumerate(pairs)
    ]
    return replace(dataset, near=tuple(named))


def test_near_duplicates_stay_on_one_side_of_a_dealt_split_and_of_folds():
    pairs = [(i, i + 1) for i in range(0, 40, 2)]
    dataset = near(made_up("a" * 20 + "b" * 20), *pairs)
    one = partition(dataset, TrainConfig(test_size=0.25, val_size=0.25), needs_val=True)
    assert straddling(list(one.parts.values())) == {}
    assert straddling(kept_apart(folds(dataset, FOUR_FOLDS, needs_val=False))) == {}
    assert clusters_parted_blindly(dataset, [one], TrainConfig(test_size=0.25, val_size=0.25)) > 5
    alone = replace(dataset, near=())
    assert len(straddling([replace(p, near=dataset.near) for p in deal_two(alone)])["near-duplicate"]) > 5


def deal_two(dataset):
    one = partition(dataset, TrainConfig(test_size=0.25), needs_val=False)
    return [one.train, one.test]


def test_a_cluster_that_no_split_can_do_without_is_not_counted_as_parted():
    # Blindly dealt, class b would have nothing for a test set; there is nothing to compare with.
    dataset = near(made_up("aaaabb"), (0, 1))
    assert clusters_parted_blindly(dataset, [Partition(dataset, None, None)], TrainConfig(folds=3)) == 0


def test_a_given_split_that_leaks_is_refused_and_its_pairs_are_named():
    dataset = near(made_up("aabbaabb", splits=["train"] * 4 + ["test"] * 4), (1, 5), (0, 4), (2, 3))
    given = [partition(dataset, TrainConfig(), needs_val=False)]
    with pytest.raises(SplitError) as caught:
        refuse_leaks(dataset, given)
    assert "2 × near-duplicate (a/001 = a/005; a/000 = a/004)" in str(caught.value)
    assert "--allow-leaks" in str(caught.value)
    refuse_leaks(replace(dataset, near=((dataset.near[2]),)), given_without(dataset))


def given_without(dataset):
    return [partition(replace(dataset, near=()), TrainConfig(), needs_val=False)]


def test_of_many_leaking_pairs_five_are_named():
    n = 7
    splits, contents = ["train"] * n + ["test"] * n, [str(i) for i in range(n)] * 2
    dataset = made_up("ab" * n, splits=splits, contents=contents)
    with pytest.raises(SplitError, match=r"7 × identical file \(.*; and 2 more\)"):
        refuse_leaks(dataset, [partition(dataset, TrainConfig(), needs_val=False)])


def test_given_folds_that_leak_are_refused_too():
    fold_of = [{FOLD: fold} for fold in "11221212"]
    dataset = near(made_up("aaaabbbb", metadata=fold_of), (0, 2))
    with pytest.raises(SplitError, match=r"1 × near-duplicate \(a/000 = a/002\)"):
        refuse_leaks(dataset, folds(dataset, TrainConfig(folds=2), needs_val=False))


def test_what_is_unknown_does_not_leak():
    assert leaks([made_up("a", contents=[""]), made_up("a", contents=[""])]) == {}


@pytest.mark.parametrize(
    ("train", "val", "needs_val", "message"),
    [
        ("aaab", None, False, "'b' has 1 training images, at least 2"),
        ("aaa", None, False, "two classes with training images; found: a"),
        ("aab", "aab", True, None),
        ("aabb", "aa", False, "two classes with validation images; found: a"),
        ("aabb", "aa", True, "two classes with validation images; found: a"),
        ("aabbc", "aabb", True, "'c' has 1 training and validation images, at least 2"),
        ("aabbcc", "aabb", True, None),
    ],
)
def test_a_class_that_a_given_part_lacks_is_told_before_training(train, val, needs_val, message):
    names = tuple(sorted(set(train + "b")))
    parts = [replace(made_up(labels), class_names=names) if labels else None for labels in (train, val)]
    one = Partition(*parts, None)
    if message is None:
        check_classes([one], needs_val=needs_val)
        return
    with pytest.raises(TooFewImages, match=message):
        check_classes([one], needs_val=needs_val)


# ---- split.csv ------------------------------------------------------------------------------------------


def renamed(dataset, names):
    samples = (replace(sample, id=name) for sample, name in zip(dataset.samples, names, strict=True))
    return replace(dataset, samples=tuple(sorted(samples, key=lambda sample: sample.id)))


def test_a_split_comes_back_from_its_file_whatever_the_names_are(tmp_path):
    names = ["a/Müller", 'a/"quoted"', "a/two\nlines", "a/=1+1", "a/ space ", "a/🐱"]
    names += [f"b/comma,{i}" for i in range(6)]
    dataset = renamed(made_up("aaaaaabbbbbb", groups=[f"g{i // 2}" for i in range(12)]), names)
    one = partition(dataset, TrainConfig(test_size=0.3, val_size=0.4), needs_val=True)
    write_split(tmp_path / "split.csv", [one])
    plain = replace(dataset, samples=tuple(replace(s, group=None) for s in dataset.samples))
    again = partition(apply_split(plain, tmp_path / "split.csv"), TrainConfig(seed=9), needs_val=True)
    for name, part in one.parts.items():
        assert ids(again.parts[name]) == ids(part)
        assert groups_of(again.parts[name]) == groups_of(part)


def test_folds_come_back_from_their_file_in_their_order(tmp_path):
    dataset, config = made_up("a" * 22 + "b" * 22), TrainConfig(folds=11)
    result = folds(dataset, config, needs_val=False)
    write_split(tmp_path / "split.csv", result)
    with (tmp_path / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ids(dataset)
    assert {row["split"] for row in rows} == {""}
    again = apply_split(dataset, tmp_path / "split.csv")
    for ours, theirs in zip(folds(again, replace(config, seed=5), needs_val=False), result, strict=True):
        assert ids(ours.test) == ids(theirs.test)
    with pytest.raises(SplitError, match="has 11 folds, --folds says 4"):
        folds(again, FOUR_FOLDS, needs_val=False)
    with pytest.raises(SplitError, match="add --folds"):
        partition(again, TrainConfig(), needs_val=False)


def test_a_column_of_the_users_that_is_called_fold_is_only_metadata():
    dataset = made_up("aaaabbbb", metadata=[{"fold": "1"}] * 8)
    assert partition(dataset, TrainConfig(), needs_val=False).test is not None
    assert len(folds(dataset, FOUR_FOLDS, needs_val=False)) == 4


def test_a_split_written_by_hand_may_use_the_folders_words(tmp_path):
    dataset = renamed(made_up("ab"), ["a/Mühle", "b/x"])
    (tmp_path / "split.csv").write_text("path,split\na/Mu\u0308hle,Train\nb/x,Validation\n", encoding="utf-8")
    assert [s.split for s in apply_split(dataset, tmp_path / "split.csv").samples] == ["train", "val"]
    (tmp_path / "split.csv").write_text("path,split\na/Mühle,train\nb/x,holdout\n", encoding="utf-8")
    with pytest.raises(SplitError, match="gives b/x the split 'holdout'; accepted: train, val"):
        apply_split(dataset, tmp_path / "split.csv")


@pytest.mark.parametrize("content", [b"image,split\na/000,train\n", b"path,split\n\xff\xfe,train\n"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "split.csv").write_bytes(content)
    with pytest.raises(SplitError, match="not a split file: it needs the columns path and split"):
        apply_split(made_up("ab"), tmp_path / "split.csv")


def test_files_that_cannot_be_read_need_no_line_in_the_split_file(tmp_path):
    folder = write_class_folders(tmp_path / "data", {"a": 3, "b": 3})
    sound = Dataset.from_folder(folder).with_hashes()
    write_split(tmp_path / "split.csv", [partition(sound, TrainConfig(test_size=0.4), needs_val=False)])
    (folder / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    dataset = apply_split(Dataset.from_folder(folder), tmp_path / "split.csv")
    assert ids(dataset) == ids(sound)
    assert [entry.path for entry in dataset.ledger] == ["a/broken.png"]
    (folder / "a" / "new.png").write_bytes((folder / "a" / "000.png").read_bytes())
    with pytest.raises(
        SplitError, match=r"does not mention 1 of 8 images, the first being a/new\.png; `tellapart split"
    ):
        apply_split(Dataset.from_folder(folder), tmp_path / "split.csv")
