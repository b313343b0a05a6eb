"""Duplicates in a browser: decide per cluster, take it back, and make the split anew."""

import csv

import pytest

from browser import check_accessible, check_reflows, expect, served, shoot, tab_to
from desks import ask, clinic, copies, desk_on
from pictures import write_class_folders

pytestmark = pytest.mark.browser


@pytest.fixture
def studio(tmp_path):
    with served(clinic(tmp_path / "clinic")) as running:
        yield running


def test_conflicts_and_leaks_first_and_each_settled_by_a_click_or_key(studio, window):
    page = window(studio, "/duplicates")
    clusters = page.locator(".cluster")
    expect(clusters).to_have_count(3)
    expect(clusters.nth(0).locator(".badge").first).to_have_text("conflicting labels")
    expect(clusters.nth(1).locator(".badge").first).to_have_text("leak")
    clusters.nth(0).get_by_role("button", name="All benign").click()
    expect(clusters).to_have_count(2)
    page.keyboard.press("ArrowDown")  # from the leak to the near-duplicates
    page.keyboard.press("ArrowRight")
    expect(clusters.nth(1).locator("li.chosen .path")).to_have_text("train/benign/scan-1.jpg")
    page.keyboard.press("k")
    expect(clusters).to_have_count(1)
    excluded = [item["id"] for item in _items(studio.desk) if item["excluded"]]
    assert excluded == ["train/benign/005.jpg", "train/benign/scan-2.jpg"]
    page.locator(".toast").last.get_by_role("button", name="Undo").click()
    expect(clusters).to_have_count(2)
    assert not any(item["excluded"] for item in _items(studio.desk))


def test_what_is_left_as_it_is_can_be_seen_again(studio, window):
    page = window(studio, "/duplicates?kind=near-duplicates")
    page.get_by_role("button", name="Leave as it is").click()
    expect(page.get_by_role("heading", name="No cluster is left to decide on")).to_be_visible()
    page.get_by_label("also those decided on").check()
    expect(page.locator(".cluster")).to_contain_text("left as it is by anna")
    assert "all=yes" in page.url


def test_of_more_clusters_than_one_answer_holds_all_can_be_seen(tmp_path, window):
    n = 130
    desk = desk_on(write_class_folders(tmp_path / "photos", {"cat": 2 * n}, size=(16, 16)))
    ids = [sample.id for sample in desk.given.samples]
    desk.catalog.attach_findings([copies("near-duplicates", *ids[k : k + 2]) for k in range(0, 2 * n, 2)])
    with served(desk) as studio:
        page = window(studio, "/duplicates")
        for shown in (20, 40, 80):
            expect(page.locator(".cluster")).to_have_count(shown)
            page.get_by_role("button", name=f"More ({n - shown})").press("Enter")
        expect(page.locator(".cluster")).to_have_count(n)
        expect(page.get_by_role("button", name="More (")).to_have_count(0)
        page.locator(".cluster").last.get_by_role("button", name="Leave as it is").click()
        expect(page.locator(".cluster")).to_have_count(n - 1)
        page.context.close()


def test_from_the_first_conflict_to_a_new_split_without_a_mouse(studio, window, tmp_path):
    page = window(studio, "/duplicates")
    expect(page.locator(".cluster")).to_have_count(3)
    page.keyboard.press("k")  # of the two labels, that of the first
    expect(page.locator(".cluster")).to_have_count(2)
    tab_to(page, page.get_by_role("button", name="Make the split anew"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="A new split")).to_be_visible(timeout=30_000)
    expect(page.locator("main")).to_contain_text("No leak is left")
    assert (tmp_path / "runs" / "split.csv").is_file()


def test_two_images_are_compared(studio, window):
    page = window(studio, "/duplicates")
    expect(page.locator(".cluster")).to_have_count(3)
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("train/malignant/scan.jpg")
    over = dialog.locator(".overlay img").nth(1)
    dialog.get_by_role("slider").fill("100")
    expect(over).to_have_css("opacity", "1")
    dialog.get_by_role("button", name="Turn").click()
    dialog.get_by_role("button", name="Turn").click()
    dialog.get_by_role("button", name="Difference").click()
    expect(over).to_have_css("mix-blend-mode", "difference")
    shoot(page, "duplicates-compare")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_the_split_made_anew_takes_the_leak_away(studio, window, tmp_path):
    page = window(studio, "/duplicates?kind=leak")
    expect(page.locator(".cluster")).to_have_count(1)
    page.get_by_role("button", name="Make the split anew").click()
    expect(page.get_by_role("heading", name="A new split")).to_be_visible(timeout=30_000)
    expect(page.locator("main")).to_contain_text("No leak is left")
    expect(page.locator(".cluster")).to_have_count(0)
    shoot(page, "duplicates-split")
    with (tmp_path / "runs" / "split.csv").open(newline="") as file:
        part = {row["path"]: row["split"] for row in csv.DictReader(file)}
    assert part["test/malignant/scan.jpg"] == part["train/malignant/004.jpg"]
    assert ask(studio.desk, "clusters", kind="leak", all=True)["clusters"][0]["state"] == "settled"


def test_they_are_accessible_and_fit_a_narrow_window(studio, window):
    page = window(studio, "/duplicates")
    expect(page.locator(".cluster")).to_have_count(3)
    shoot(page, "duplicates")
    check_accessible(page)
    page.emulate_media(color_scheme="dark")
    shoot(page, "duplicates-dark")
    check_reflows(page)
    shoot(page, "duplicates-narrow", full=True)


def _items(desk):
    return [desk.catalog.item(i) for i in range(len(desk.catalog))]
