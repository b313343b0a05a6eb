"""The demo, small: what was planted in its images is found where it should be."""

import csv
import json

import pytest

from tellapart.demo import run_demo
from tellapart.errors import ConfigError


class Said:
    """Progress that keeps its lines."""

    def __init__(self):
        self.lines = []

    def track(self, description, total, unit="image"):
        from tellapart.progress import SILENT

        return SILENT.track(description, total, unit)

    def say(self, message):
        self.lines.append(message)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out, progress = tmp_path_factory.mktemp("demo") / "demo", Said()
    run, planted = run_demo(out, n_lesions=16, image_size=64, progress=progress)
    return out, run, planted, progress.lines


def split_rows(run):
    with (run.folder / "split.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_pipeline_ends_with_a_report_and_a_model_that_answers(demo):
    out, run, planted, _ = demo
    assert run.folder == out / "run"
    assert (run.folder / "evaluation" / "report.html").is_file()
    image = planted.manifest.parent / run.evaluation.predictions.sample_ids[0]
    assert run.model.answer(image).label in ("benign", "malignant")


def test_copies_are_on_the_side_of_their_originals(demo):
    _, run, planted, lines = demo
    rows = split_rows(run)
    digests = {row["path"]: row["sha256"] for row in rows}
    sides = {}
    for row in rows:
        sides.setdefault(row["sha256"], set()).add(row["split"])
    for copy in planted.duplicates:
        assert len([path for path in digests if digests[path] == digests[copy]]) > 1
        assert len(sides[digests[copy]]) == 1
    assert f"note: {len(planted.duplicates)} files are byte-for-byte copies of another" in " ".join(lines)


def test_pictures_of_one_lesion_are_on_one_side(demo):
    _, run, _, _ = demo
    sides = {}
    for row in split_rows(run):
        sides.setdefault(row["group"], set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())
    assert run.details["disjoint_by"] == "group, file content and near-duplicates"
    assert run.evaluation.predictions.groups is not None


def test_the_broken_file_is_in_the_ledger_and_nothing_else(demo):
    _, run, planted, _ = demo
    record = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    assert [entry["path"] for entry in record["data"]["ledger"]] == list(planted.broken)
    assert "damaged or truncated" in record["data"]["ledger"][0]["reason"]


def test_everybody_is_told_that_the_images_are_synthetic(demo):
    _, run, _, lines = demo
    assert "synthetic" in lines[0]
    report = (run.folder / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "The images are synthetic: drawn by a program." in report
    assert "one label is wrong on purpose" in report


def test_a_full_folder_is_left_alone(demo):
    out, *_ = demo
    with pytest.raises(ConfigError, match="not empty; choose another --out"):
        run_demo(out)
