"""From an archive in trouble to a trained model, on the command line alone."""

import csv
import hashlib
import json
import signal
import subprocess
import sys
import time

import pytest

from isic_archive import serving
from isic_images import make_images
from isic_store import LASTING, PASSING
from tellapart.cli.app import run

N = 40


@pytest.mark.slow
def test_a_killed_fetch_goes_on_and_check_and_train_take_the_folder_as_it_is(tmp_path, capsys):
    out = tmp_path / "moles"
    with serving(make_images(400)) as archive:
        archive.sprinkle(PASSING + LASTING, share=0.2)
        archive.pause_s = 0.1
        fetch = ["fetch", "isic", str(out), "--allow-private", "--api", archive.api, "--per-class", str(N)]
        process = subprocess.Popen([sys.executable, "-m", "tellapart", *fetch], stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while len([*out.rglob("ISIC_*.jpg")]) < N // 2:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert run(["check", str(out)]) == 1
        assert f"run `tellapart fetch isic {out}` again" in capsys.readouterr().err

        assert run(fetch) == 0
        with (out / "manifest.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["label"] for row in rows].count("Malignant") == len(rows) - N == N
        for row in rows:
            content = (out / row["path"]).read_bytes()
            assert content == archive.by_id[row["id"]].content
            assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert set(out.rglob("*ISIC_*")) == {out / row["path"] for row in rows}

    assert run(["check", str(out), "--strict", "--json", str(tmp_path / "check.json")]) == 0
    assert run(["train", str(out), "--out", str(tmp_path / "run"), "--image-size", "64"]) == 0
    metrics = json.loads((tmp_path / "run" / "evaluation" / "metrics.json").read_text())
    assert metrics["class_names"] == ["Benign", "Malignant"]
    assert metrics["balanced_accuracy"]["value"] > 0.7
    with (tmp_path / "run" / "split.csv").open(encoding="utf-8", newline="") as file:
        dealt = list(csv.DictReader(file))
    sides = {(row["group"], row["split"] == "test") for row in dealt if row["group"]}
    assert len(sides) == len({group for group, _ in sides})  # no patient on two sides
