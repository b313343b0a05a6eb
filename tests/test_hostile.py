"""A folder of about a hundred awkward files: what is bad is listed, and everything else is used."""

import csv
import html
import io
import json
import os
import re
import unicodedata
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from hostile import write_hostile_folder
from tellapart.cli.app import run
from tellapart.data.dataset import Dataset
from tellapart.training.partition import apply_split

UNUSUAL = [
    "cat/M\u00fcller.png",
    "dog/M\u00fchle.png",  # NFC, although the name on disk is in NFD
    "cat/\u732b.png",
    "dog/\U0001f431.png",
    "cat/O'Brien.png",
    "dog/comma,semi;colon.png",
]


@dataclass(frozen=True)
class Trained:
    """One run of the command line on the hostile folder."""

    data: Path
    bad: dict[str, str]
    status: int
    printed: str
    folder: Path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Trained:
    place = tmp_path_factory.mktemp("hostile")
    bad = write_hostile_folder(place / "data")
    screen = io.StringIO()
    arguments = ["train", str(place / "data"), "--out", str(place / "run")]
    with redirect_stdout(screen), redirect_stderr(screen):
        status = run([*arguments, "--mode", "features", "--image-size", "64"])
    return Trained(place / "data", bad, status, screen.getvalue(), place / "run")


def assert_exactly(ledger: dict[str, str], bad: dict[str, str]) -> None:
    assert set(ledger) == set(bad)
    for path, fragment in bad.items():
        assert fragment in ledger[path], path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_run_json_lists_exactly_the_bad_files(hostile):
    assert hostile.status == 0, hostile.printed
    record = json.loads((hostile.folder / "run.json").read_text(encoding="utf-8"))
    entries = [(entry["path"], entry["reason"]) for entry in record["data"]["ledger"]]
    assert len(entries) == len(hostile.bad)
    assert_exactly(dict(entries), hostile.bad)
    assert record["data"]["n_samples"] == len(rows_of(hostile.folder / "split.csv"))


def test_the_report_lists_exactly_the_bad_files(hostile):
    report = (hostile.folder / "evaluation" / "report.html").read_text(encoding="utf-8")
    cells = re.findall(r'<td class="path">(.*?)</td><td>(.*?)</td>', report, flags=re.DOTALL)
    assert_exactly({html.unescape(path): html.unescape(reason) for path, reason in cells}, hostile.bad)


def test_the_terminal_counts_them_and_names_the_first(hostile):
    assert f"{len(hostile.bad)} files are not used:" in hostile.printed
    named = re.findall(r"^  (.+?): ", hostile.printed, flags=re.MULTILINE)
    assert len(named) == 10
    assert set(named) <= set(hostile.bad)
    assert f"and {len(hostile.bad) - 10} more" in hostile.printed


def test_unusual_names_survive_into_the_tables(hostile):
    split = {row["path"]: row for row in rows_of(hostile.folder / "split.csv")}
    assert set(UNUSUAL) <= set(split)
    tested = {path for path, row in split.items() if row["split"] == "test"}
    predictions = [row["path"] for row in rows_of(hostile.folder / "evaluation" / "predictions.csv")]
    assert set(predictions) == tested
    assert all(unicodedata.is_normalized("NFC", path) for path in split)
    assert any(not path.isascii() for path in predictions)


def test_the_split_file_fits_the_folder_that_it_came_from(hostile):
    dataset = apply_split(Dataset.from_folder(hostile.data), hostile.folder / "split.csv")
    again = {sample.id: sample.split for sample in dataset.samples}
    assert again == {row["path"]: row["split"] for row in rows_of(hostile.folder / "split.csv")}
    assert_exactly({entry.path: entry.reason for entry in dataset.ledger}, hostile.bad)


def test_a_run_can_be_repeated_with_its_split_file(hostile, tmp_path):
    options = ["--mode", "features", "--image-size", "64", "--seed", "7"]
    split = ["--split", str(hostile.folder / "split.csv")]
    assert run(["train", str(hostile.data), "--out", str(tmp_path / "again"), *options, *split]) == 0
    assert rows_of(tmp_path / "again" / "split.csv") == rows_of(hostile.folder / "split.csv")


def image_files(data: Path) -> list[str]:
    """Regular files that are named like an image and not hidden, relative to the folder, loops left out."""
    suffixes = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
    found = []
    for folder, _, names in os.walk(data):
        for name in names:
            path = Path(folder, name)
            is_hidden = name.startswith(".") or name == "Thumbs.db"
            if name.lower().endswith(suffixes) and not is_hidden and path.is_file():
                found.append(path.relative_to(data).as_posix())
    return found


@pytest.mark.parametrize("format", ["csv", "json", "table"])
def test_predict_answers_all_that_can_be_read_and_exits_1(hostile, capsys, format):
    assert run(["predict", str(hostile.folder), str(hostile.data), "--format", format]) == 1
    printed = capsys.readouterr().out
    files = image_files(hostile.data)
    bad = {path for path in hostile.bad if path in files} - {"stray.png"}
    if format == "csv":
        rows = list(csv.DictReader(io.StringIO(printed)))
        refused = {row["path"] for row in rows if row["error"]}
        assert all((row["predicted"] in ("cat", "dog")) != bool(row["error"]) for row in rows)
    elif format == "json":
        rows = json.loads(printed)
        refused = {row["path"] for row in rows if "error" in row}
        assert all(("label" in row) != ("error" in row) for row in rows)
    else:
        rows = printed.splitlines()
        refused = {line.lstrip("- ").split(": ")[0] for line in rows if line.startswith("-")}
    assert len(rows) == len(files)
    assert {Path(path).relative_to(hostile.data).as_posix() for path in refused} == bad
