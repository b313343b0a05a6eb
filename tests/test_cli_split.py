"""`tellapart split` writes what `tellapart train --split` reads, and nothing leaks from it."""

import csv

import pytest
from PIL import Image

from pictures import write_class_folders
from tellapart.cli.app import run
from tellapart.data.dataset import Dataset
from tellapart.training.config import TrainConfig
from tellapart.training.partition import apply_split, deal


@pytest.fixture
def folder(tmp_path):
    """Two classes of ten, every cat copied upside down, and one file that cannot be read."""
    root = write_class_folders(tmp_path / "data", {"cat": 10, "dog": 10})
    for path in sorted((root / "cat").iterdir()):
        Image.open(path).rotate(180).save(path.with_name(f"{path.stem}-copy.png"))
    (root / "dog" / "empty.png").touch()
    return root


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def test_no_copy_is_on_the_other_side(folder, tmp_path, capsys):
    assert run(["split", str(folder), "--out", str(tmp_path / "split.csv"), "--test-size", "0.3"]) == 0
    found = rows(tmp_path / "split.csv")
    assert len(found) == 30
    for number in range(10):
        names = (f"cat/{number:03d}.png", f"cat/{number:03d}-copy.png")
        assert len({found[name]["split"] for name in names}) == 1
    shown = capsys.readouterr()
    assert "images are near-duplicates of another, in 10 clusters" in shown.err
    assert "would otherwise have been on two sides" in shown.err
    assert "dog/empty.png: empty file" in shown.err
    assert "training" in shown.out
    assert "test" in shown.out


def test_folds_are_dealt_without_looking_where_that_is_asked(folder, tmp_path, capsys):
    options = ["--folds", "3", "--no-near-duplicates", "--seed", "4"]
    assert run(["split", str(folder), "--out", str(tmp_path / "split.csv"), *options]) == 0
    found = rows(tmp_path / "split.csv")
    assert {row["fold"] for row in found.values()} == {"1", "2", "3"}
    folds = [[found[f"cat/{n:03d}{end}.png"]["fold"] for end in ("", "-copy")] for n in range(10)]
    assert any(first != second for first, second in folds)
    assert "near-duplicates" not in capsys.readouterr().err


def test_a_given_split_that_leaks_is_refused_or_allowed(tmp_path, capsys):
    root = tmp_path / "data"
    for seed, part in enumerate(("train", "test")):
        write_class_folders(root / part, {"cat": 4, "dog": 4}, seed=seed)
    Image.open(root / "train" / "cat" / "000.png").rotate(180).save(root / "test" / "cat" / "copy.png")
    out = tmp_path / "split.csv"
    assert run(["split", str(root), "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "1 × near-duplicate (test/cat/copy.png = train/cat/000.png)" in said
    assert "--allow-leaks" in said
    assert "tellapart split DATA --anew --out FILE" in said
    assert not out.exists()
    assert run(["split", str(root), "--out", str(out), "--allow-leaks"]) == 0
    assert "near-duplicate on two sides of the split" in capsys.readouterr().err
    assert len(rows(out)) == 17


@pytest.mark.parametrize("options", [(), ("--folds", "2")])
def test_a_given_split_that_leaks_is_dealt_anew(tmp_path, options):
    root = tmp_path / "data"
    for seed, part in enumerate(("train", "test")):
        write_class_folders(root / part, {"cat": 4, "dog": 4}, seed=seed)
    Image.open(root / "train" / "cat" / "000.png").rotate(180).save(root / "test" / "cat" / "copy.png")
    out = tmp_path / "split.csv"
    assert run(["split", str(root), "--anew", "--out", str(out), *options]) == 0
    found = rows(out)
    first, copy = found["train/cat/000.png"], found["test/cat/copy.png"]
    assert (first["split"], first["fold"]) == (copy["split"], copy["fold"])
    given = apply_split(Dataset.load(root), out)  # what `train --split` does
    deal(given, TrainConfig(folds=2 if options else None), needs_val=False)


def test_groups_of_a_manifest_stay_together(tmp_path):
    root = write_class_folders(tmp_path, {"cat": 12, "dog": 12})
    lines = [
        f"{path.parent.name}/{path.name},{path.parent.name},{path.parent.name}{i // 2}"
        for i, path in enumerate(sorted(root.rglob("*.png")))
    ]
    (root / "manifest.csv").write_text("path,label,lesion\n" + "\n".join(lines))
    out = tmp_path / "split.csv"
    assert run(["split", str(root / "manifest.csv"), "--out", str(out), "--group-by", "lesion"]) == 0
    sides = {}
    for row in rows(out).values():
        sides.setdefault(row["group"], set()).add(row["split"])
    assert len(sides) == 12
    assert all(len(side) == 1 for side in sides.values())


def test_a_folder_is_no_place_for_a_file(folder, tmp_path, capsys):
    assert run(["split", str(folder), "--out", str(tmp_path)]) == 1
    assert "--out takes the name of a file" in capsys.readouterr().err
