"""Every view with a real run and check behind it, as the documentation shows it: of synthetic lesions.

All pictures of the documentation are made anew by::

    TELLAPART_SCREENSHOTS=docs/studio pytest tests/test_studio_pictures.py tests/test_notebook_lab.py
"""

import os
from pathlib import Path

import pytest

from browser import check_accessible, check_reflows, expect, opened, picture
from tellapart.cli.app import run as tellapart

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("TELLAPART_SCREENSHOTS"),
        reason="TELLAPART_SCREENSHOTS names no folder for the pictures of the documentation",
    ),
]

SIZE = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """A folder with `tellapart demo`'s images and run, and what a check of them found."""
    from tellapart.demo import run_demo

    folder = tmp_path_factory.mktemp("pictures")
    run_demo(folder / "demo", n_lesions=120, difficulty=0.6, image_size=64)
    manifest, run = folder / "demo" / "images" / "manifest.csv", folder / "demo" / "run"
    options = ["--mode=finetune", "--epochs=6", "--image-size=64", f"--split={run / 'split.csv'}"]
    assert tellapart(["train", str(manifest), "--out", str(folder / "demo" / "finetuned"), *options]) == 0
    assert tellapart(["check", str(manifest), "--json", str(folder / "findings.json")]) == 0
    return folder


@pytest.fixture
def studio(demo, tmp_path, monkeypatch):
    monkeypatch.setenv("TELLAPART_JOURNAL", str(tmp_path / "labels.sqlite"))
    choices = {"findings": demo / "findings.json", "examples": tmp_path / "examples"}
    with opened(demo / "demo" / "run", **choices) as studio:
        yield studio


def relabel_some(page) -> None:
    page.goto(page.url.replace("/history", "/review"))
    for key in ("a", "k", "k", "x", "f"):
        expect(page.locator("main img").first).to_be_visible()
        page.keyboard.press(key)
        page.wait_for_timeout(700)
    page.get_by_role("link", name="History").click()
    expect(page.locator("main")).to_contain_text("ada")


def try_one(page, image: Path) -> None:
    page.locator("input[type=file]").set_input_files(image)
    expect(page.locator(".said").first).to_be_visible(timeout=30_000)


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("grid?run=run", ".cell img"),
        ("review", "main img"),
        ("duplicates", ".cluster img"),
        ("augment", "main img"),
        ("training?runs=finetuned,run", ".ta-plot"),
        ("results?run=run", ".confusion"),
        ("threshold?run=run", ".ta-plot"),
        ("try?run=run", "main"),
        ("history", "main"),
    ],
)
def test_a_view_with_everything_in_it(studio, window, demo, address, seen):
    page, view = window(studio, f"/{address}", viewport=SIZE), address.partition("?")[0]
    if view == "history":
        relabel_some(page)
    if view == "try":
        try_one(page, sorted((demo / "demo" / "images" / "malignant").glob("*.jpg"))[5])
    expect(page.locator(seen).first).to_be_visible(timeout=60_000)
    page.wait_for_load_state("networkidle") if view == "grid" else page.wait_for_timeout(500)
    picture(page, view)
    check_accessible(page)
    check_reflows(page)
