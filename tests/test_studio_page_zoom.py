"""One image closely, in a real browser."""

import re

import pytest

from browser import expect, shoot
from grids import cell, labels, opened_grid, press
from processes import eventually

pytestmark = pytest.mark.browser


def test_close_up(gallery, window):
    page = opened_grid(window, gallery)
    press(page, "ArrowRight", "Enter")
    box = page.get_by_role("dialog")
    expect(box.locator("img")).to_have_js_property("naturalWidth", 48)
    expect(box).to_contain_text("2 of 240")
    expect(box).to_contain_text("48 × 40 px")
    expect(box).to_contain_text("90.0 %")
    expect(box.locator(".known h3")).to_have_text(["Probabilities, by the run", "Image"])
    assert not box.locator(".known").evaluate("known => [...known.childNodes].some((node) => node.data)")
    expect(page).to_have_url(re.compile("at=1&zoom=yes|zoom=yes&at=1"))
    shoot(page, "grid-zoom")
    press(page, "n", "ArrowRight", "p")
    expect(box).to_contain_text("3 of 240")
    press(page, "2")
    expect(box).to_contain_text("4 of 240")
    eventually(lambda: labels(gallery) == {"benign/002.jpg": "malignant"})
    press(page, "p")
    expect(box).to_contain_text("benign → malignant")
    press(page, "Control+z")
    expect(box.get_by_role("heading", name="benign")).to_be_visible()
    eventually(lambda: labels(gallery) == {})
    press(page, "Escape")
    expect(box).to_have_count(0)
    expect(cell(page, 2)).to_be_focused()
    assert "zoom" not in page.url


def test_going_back_from_a_close_up_leaves_the_address_of_the_other_view_alone(gallery, window):
    page = window(gallery, "/history?actor=ada")
    expect(page.get_by_text("0 batches")).to_be_visible()
    press(page, "g", "g")
    expect(page.locator(".cell").first).to_be_visible()
    press(page, "ArrowRight", "Enter")
    expect(page.get_by_role("dialog")).to_contain_text("2 of 240")
    while "/grid" in page.url:
        page.go_back()
    expect(page.get_by_text("0 batches")).to_be_visible()
    page.wait_for_timeout(600)  # as long as the grid may wait before it writes where its cursor is
    assert page.url == f"{gallery.url}/history?actor=ada"


def test_pixel_by_pixel(gallery, window):
    page = opened_grid(window, gallery, "/grid?at=3&zoom=yes")
    box = page.get_by_role("dialog")
    expect(box.locator("img")).to_have_js_property("naturalWidth", 48)
    box.get_by_role("button", name="1:1").click()
    expect(box.locator("output")).to_have_text("100 %")
    page.locator(".stage").focus()
    press(page, "+", "+", "-")
    expect(box.locator("output")).to_have_text("125 %")
    before = box.locator("img").get_attribute("style")
    press(page, "ArrowLeft")
    assert box.locator("img").get_attribute("style") != before
    press(page, "r")
    expect(box.locator("img")).to_have_attribute("style", re.compile(r"rotate\(90deg\)"))
    page.get_by_label("Brightness").fill("150")
    expect(box.locator("img")).to_have_attribute("style", re.compile(r"brightness\(1.5\)|brightness\(150%\)"))
    page.locator(".stage").hover()
    page.mouse.wheel(0, -200)
    expect(box.locator("output")).not_to_have_text("125 %")
    page.get_by_role("button", name="Reset").click()
    expect(box.locator("img")).to_have_attribute("style", re.compile(r"rotate\(0deg\)"))


def test_closely_only_what_is_seen_is_relabelled(gallery, window):
    page = opened_grid(window, gallery)
    press(page, "Shift+ArrowRight", "Shift+ArrowRight", "Enter")
    expect(page.get_by_role("dialog")).to_contain_text("3 of 240")
    press(page, "2")
    eventually(lambda: labels(gallery) == {"benign/002.jpg": "malignant"})


def test_a_file_that_is_no_picture_says_why(gallery, window):
    window.expected.append("status of 404")
    page = opened_grid(window, gallery, "/grid?at=0&zoom=yes")
    expect(page.get_by_role("dialog")).to_contain_text("not an image, or damaged in its header")
