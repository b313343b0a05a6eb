"""What a dataset's files give away."""

import numpy as np
import pytest

from pictures import class_picture, encode, write_class_folders
from tellapart.audit.looks import Look, look
from tellapart.audit.privacy import findings
from tellapart.data.dataset import Dataset
from tellapart.data.images import decode
from telling import tell


@pytest.fixture
def folder(tmp_path):
    root = write_class_folders(tmp_path / "data", {"cat": 4, "dog": 3})
    tell(root / "cat" / "001.png")
    tell(root / "dog" / "002.png", Artist="Jane Doe", ImageDescription="Jane's arm")
    (root / "dog" / "odd.webp").write_bytes(encode(class_picture(np.random.default_rng(0), 1), "WEBP"))
    return root


def looks_of(dataset: Dataset) -> list[Look]:
    contents = [sample.path.read_bytes() for sample in dataset.samples]
    return [look(content, decode(content)) for content in contents]


def test_each_kind_of_clue_is_one_finding(folder):
    dataset = Dataset.from_folder(folder)
    found = findings(dataset, looks_of(dataset))
    assert [(finding.kind, finding.severity, finding.sample_ids) for finding in found] == [
        ("place in metadata", "warning", ("cat/001.png", "dog/002.png")),
        ("person in metadata", "warning", ("dog/002.png",)),
        ("text in metadata", "note", ("dog/002.png",)),
    ]
    assert found[0].message == (
        "metadata that tell where a picture was taken, in 2 files: before sharing, write clean copies with "
        "`tellapart check DATA --strip DIR`"
    )
    assert "name a person or owner, in 1 file: " in found[1].message


def test_files_without_clues_give_no_findings(tmp_path):
    dataset = Dataset.from_folder(write_class_folders(tmp_path, {"cat": 2, "dog": 2}))
    assert findings(dataset, looks_of(dataset)) == []
