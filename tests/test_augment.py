"""Augmented copies on disk: labelled and grouped with their originals, so that they never leak."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pictures import write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError


@pytest.fixture
def dataset(tmp_path):
    return Dataset.from_folder(write_class_folders(tmp_path / "data", {"cat": 5, "dog": 5}))


def test_copies_are_what_the_pipeline_made(dataset, tmp_path):
    bigger = dataset.augment([np.fliplr], copies=1, out=tmp_path / "out")
    assert len(bigger) == 20
    original, copy = bigger.samples[0], bigger.samples[10]
    pixels = [np.asarray(Image.open(s.path).convert("RGB")) for s in (original, copy)]
    assert (pixels[1] == pixels[0][:, ::-1]).all()
    assert (copy.label, copy.group) == (original.label, original.group)


def test_every_pipeline_makes_its_copies(dataset, tmp_path):
    def noise(pixels):
        return np.clip(pixels + np.random.normal(0, 9, pixels.shape), 0, 255).astype(np.uint8)

    bigger = dataset.augment([noise, np.flipud], copies=2, out=tmp_path / "out", seed=4)
    again = dataset.augment([noise, np.flipud], copies=2, out=tmp_path / "again", seed=4)
    assert len(bigger) == 10 + 10 * 2 * 2
    assert len({s.id for s in bigger.samples}) == 50
    first, second = bigger.samples[10], bigger.samples[11]
    assert first.path.read_bytes() != second.path.read_bytes()
    assert bigger.fingerprint == again.fingerprint


def test_no_copy_is_ever_on_the_other_side(dataset, tmp_path):
    bigger = dataset.augment([np.fliplr, np.flipud], copies=1, out=tmp_path / "out")
    for seed in range(5):
        train, test = bigger.split(test_size=0.4, seed=seed)
        assert not {s.group for s in train.samples} & {s.group for s in test.samples}


def test_originals_are_never_changed(dataset, tmp_path):
    before = dataset.fingerprint
    dataset.augment([lambda pixels: pixels * 0], copies=1, out=tmp_path / "out")
    assert dataset.fingerprint == before


def test_refusals(dataset, tmp_path):
    with pytest.raises(ConfigError, match="copies is 0"):
        dataset.augment([np.fliplr], copies=0, out=tmp_path / "out")
    with pytest.raises(ConfigError, match="not empty"):
        dataset.augment([np.fliplr], copies=1, out=tmp_path / "data")


def test_copies_of_images_above_the_manifest_or_elsewhere_stay_in_the_new_folder(tmp_path):
    photos = write_class_folders(tmp_path / "photos", {"a": 1, "b": 1})
    (tmp_path / "study").mkdir()
    manifest = tmp_path / "study" / "manifest.csv"
    manifest.write_text(f"path,label\n../photos/a/000.png,a\n{photos / 'b' / '000.png'},b\n")
    before = sorted(tmp_path.rglob("*.png"))
    bigger = Dataset.from_manifest(manifest).augment([np.fliplr], copies=1, out=tmp_path / "out")
    made = sorted(set(tmp_path.rglob("*.png")) - set(before))
    assert len(made) == 2
    assert made == sorted(sample.path for sample in bigger.samples[2:])
    assert all(path.is_relative_to(tmp_path / "out") for path in made)


def test_copies_stay_with_their_original_when_another_column_groups(dataset, tmp_path):
    samples = [
        replace(s, metadata={"patient": "p1" if i == 0 else ""}) for i, s in enumerate(dataset.samples)
    ]
    grouped = replace(dataset, samples=tuple(samples)).augment([np.fliplr], 1, tmp_path / "out")
    for seed in range(5):
        train, test = grouped.split(0.4, group_by="patient", seed=seed)
        originals = [{s.id.split("~")[0] for s in part.samples} for part in (train, test)]
        assert not originals[0] & originals[1]
