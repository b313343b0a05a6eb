import csv
import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from tellapart.data.images import decode
from tellapart.data.lesions import Planted, draw_lesion, write_lesions
from tellapart.errors import ConfigError, UnreadableImage

Row = dict[str, str]


def read_manifest(planted: Planted) -> list[Row]:
    with planted.manifest.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def file_hashes(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return write_lesions(tmp_path_factory.mktemp("lesions"), n_lesions=20, size_px=64)


@pytest.fixture(scope="module")
def rows(planted: Planted) -> list[Row]:
    return read_manifest(planted)


# ---------------------------------------------------------------------------------- pictures


def test_a_lesion_is_rgb_of_the_asked_size() -> None:
    image = draw_lesion(np.random.default_rng(0), 0.5, size_px=96)
    assert (image.mode, image.size) == ("RGB", (96, 96))


def test_the_same_state_draws_the_same_lesion() -> None:
    first, second, other = (
        np.asarray(draw_lesion(np.random.default_rng(seed), 0.7, size_px=64)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert np.abs(first.astype(int) - other).mean() > 5


def test_lesions_are_darker_than_the_skin_around_them() -> None:
    rng = np.random.default_rng(3)
    darker = 0
    for _ in range(20):
        grey = np.asarray(draw_lesion(rng, 0.5, size_px=64).convert("L"), float)
        skin = np.concatenate([grey[10:54, 8:12].ravel(), grey[10:54, 52:56].ravel()])
        darker += bool(grey[26:38, 26:38].mean() < np.median(skin) - 5)
    assert darker >= 17


# ---------------------------------------------------------------------------------- data set


def test_manifest_lists_every_picture(planted: Planted, rows: list[Row]) -> None:
    root = planted.manifest.parent
    on_disk = {path.relative_to(root).as_posix() for path in root.glob("*/*")}
    assert {row["path"] for row in rows} == on_disk
    assert len(rows) == len(on_disk)
    assert list(rows[0]) == ["path", "label", "group", "age", "sex", "localization"]
    assert all(row["path"].split("/")[0] == row["label"] for row in rows)
    assert {path.name for path in root.iterdir()} == {"benign", "malignant", "manifest.csv", "ABOUT.md"}


def test_both_classes_are_there_and_every_lesion_has_one(rows: list[Row]) -> None:
    of_lesion = defaultdict(set)
    for row in rows:
        of_lesion[row["group"]].add((row["label"], row["age"], row["sex"], row["localization"]))
    assert all(len(facts) == 1 for facts in of_lesion.values())
    lesions = Counter(label for facts in of_lesion.values() for label, *_ in facts)
    # 8 of 20 are malignant, less the one that is filed as benign; the 3 copies pass as lesions of their own.
    assert lesions.total() == 23
    assert lesions["malignant"] >= 7
    assert lesions["benign"] >= 13


def test_a_lesion_has_one_to_three_pictures_which_differ(planted: Planted, rows: list[Row]) -> None:
    counts = Counter(row["group"] for row in rows)
    assert set(counts.values()) == {1, 2, 3}
    group = next(group for group, count in counts.items() if count == 3)
    hashes = file_hashes(planted.manifest.parent)
    assert len({hashes[row["path"]] for row in rows if row["group"] == group}) == 3


def test_duplicates_are_copies_under_another_lesion(planted: Planted, rows: list[Row]) -> None:
    hashes = file_hashes(planted.manifest.parent)
    group_of = {row["path"]: row["group"] for row in rows}
    same = defaultdict(list)
    for path in group_of:
        same[hashes[path]].append(path)
    pairs = [paths for paths in same.values() if len(paths) > 1]
    assert len(pairs) == len(planted.duplicates) == 3
    for pair in pairs:
        assert len(set(pair) & set(planted.duplicates)) == 1
        assert len({group_of[path] for path in pair}) == 2
        assert len({path.split("/")[0] for path in pair}) == 1


def test_broken_file_is_refused_and_the_others_are_read(planted: Planted, rows: list[Row]) -> None:
    root = planted.manifest.parent
    refused = []
    for row in rows:
        try:
            assert decode(root / row["path"]).size == (64, 64)
        except UnreadableImage as exc:
            refused.append((row["path"], str(exc)))
    assert [path for path, _ in refused] == list(planted.broken)
    assert "truncated" in refused[0][1]


def test_mislabelled_picture_is_filed_as_benign_and_looks_malignant(planted: Planted) -> None:
    (path,) = planted.mislabelled
    assert path.startswith("benign/")
    assert path not in planted.duplicates + planted.broken
    root = planted.manifest.parent
    benign = [size_of_lesion(other) for other in root.glob("benign/*.jpg") if is_readable(other)]
    assert size_of_lesion(root / path) > np.median(benign)


def test_about_says_that_nothing_is_real(planted: Planted) -> None:
    about = (planted.manifest.parent / "ABOUT.md").read_text(encoding="utf-8")
    assert "drawn by a program" in about
    assert "must not be used on people" in about
    assert all(path in about for path in planted.duplicates + planted.mislabelled + planted.broken)


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("first", "second", "other")}
    for name, folder in folders.items():
        write_lesions(folder, n_lesions=8, size_px=48, seed=1 if name == "other" else 0)
    first, second, other = (file_hashes(folder) for folder in folders.values())
    assert first == second
    assert first != other


def test_difficulty_is_the_overlap_of_the_classes(tmp_path: Path) -> None:
    def auc(difficulty: float) -> float:
        planted = write_lesions(
            tmp_path / str(difficulty),
            n_lesions=60,
            images_per_lesion=(1, 1),
            difficulty=difficulty,
            size_px=64,
        )
        root = planted.manifest.parent
        rows = [row for row in read_manifest(planted) if is_readable(root / row["path"])]
        malignant = [row["label"] == "malignant" for row in rows]
        return float(roc_auc_score(malignant, [size_of_lesion(root / row["path"]) for row in rows]))

    easy, hard = auc(0.0), auc(1.0)
    assert easy > 0.8
    assert 0.25 < hard < 0.75


def is_readable(path: Path) -> bool:
    try:
        decode(path)
    except UnreadableImage:
        return False
    return True


def size_of_lesion(path: Path) -> float:
    """Part of the picture's middle that is clearly darker than skin: big, irregular lesions have more."""
    pixels = np.asarray(Image.open(path).convert("RGB"), float)[6:-6, 6:-6, 2]
    return float((pixels < 0.72 * np.percentile(pixels, 85)).mean())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_lesions": 7}, "at least 8"),
        ({"images_per_lesion": (3, 1)}, "fewest, most"),
        ({"images_per_lesion": (0, 1)}, "fewest, most"),
        ({"difficulty": 1.5}, "from 0"),
        ({"size_px": 16}, "at least 32"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_written(
    tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        write_lesions(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
