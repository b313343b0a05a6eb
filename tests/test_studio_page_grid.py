"""The grid in a real browser: moving about and choosing images, by mouse and by keys."""

import re

import pytest

from browser import check_accessible, check_reflows, expect, shoot
from grids import cell, cursor_on, events, n_columns, opened_grid, press

pytestmark = pytest.mark.browser


# ---- seeing ------------------------------------------------------------------------------------------------


def test_only_what_is_in_sight_is_in_the_page(gallery, window):
    page = opened_grid(window, gallery)
    expect(page.get_by_role("status").get_by_text("240 images").first).to_be_visible()
    assert 10 < page.locator(".cell").count() < 80
    expect(cell(page, 0)).to_have_attribute("aria-setsize", "240")
    expect(cell(page, 1)).to_have_accessible_name(re.compile("benign, predicted benign 90 %, benign/001.jpg"))
    expect(cell(page, 5)).to_have_accessible_name(re.compile("suspected to be malignant"))
    expect(cell(page, 12)).to_have_accessible_name(re.compile("predicted malignant 80 %"))
    shoot(page, "grid")


def test_the_last_image_is_one_key_away(gallery, window):
    page = opened_grid(window, gallery)
    page.keyboard.press("End")
    cursor_on(page, 239)
    expect(cell(page, 239)).to_be_in_viewport()
    expect(cell(page, 239)).to_be_focused()
    expect(cell(page, 239)).to_have_accessible_name(re.compile("malignant/079.jpg"))
    assert page.locator(".cell").count() < 80
    press(page, "Home")
    cursor_on(page, 0)


def test_the_cell_with_the_cursor_is_never_recycled(gallery, window):
    page = opened_grid(window, gallery)
    press(page, "ArrowRight", "ArrowRight")
    page.locator(".host").evaluate("host => { host.scrollTop = 3000; }")
    expect(cell(page, 1)).to_have_count(0)
    expect(cell(page, 2)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(cell(page, 3)).to_be_focused()
    expect(cell(page, 3)).to_be_in_viewport()


def test_arrows_pages_and_edges(gallery, window):
    page = opened_grid(window, gallery)
    n = n_columns(page)
    press(page, "ArrowLeft", "ArrowUp")
    cursor_on(page, 0)
    press(page, "ArrowDown", "ArrowRight")
    cursor_on(page, n + 1)
    press(page, "PageDown", "PageUp")
    cursor_on(page, n + 1)
    press(page, "End", "ArrowRight")
    cursor_on(page, 239)


def test_three_sizes(gallery, window):
    page = opened_grid(window, gallery)
    press(page, "End")
    widths = []
    for size in ("small", "medium", "large"):
        page.get_by_role("button", name=size).click()
        expect(page.get_by_role("button", name=size)).to_have_attribute("aria-pressed", "true")
        expect(page.locator(".cell.cursor")).to_be_in_viewport()
        widths.append(page.locator(".cell.cursor").bounding_box()["width"])
    assert widths == sorted(widths)
    expect(page).to_have_url(re.compile("size=large"))
    src = page.locator(".cell.cursor img").get_attribute("src")
    assert "s=320" in src


def test_a_file_that_is_no_picture_gets_a_sign(gallery, window):
    page = opened_grid(window, gallery)
    expect(cell(page, 0).locator("img")).to_have_js_property("naturalWidth", 160)
    expect(cell(page, 1).locator("img")).to_have_js_property("naturalWidth", 48)


# ---- choosing ----------------------------------------------------------------------------------------------


def test_a_filter_is_in_the_address_and_can_be_gone_back_from(gallery, window):
    page = opened_grid(window, gallery)
    page.get_by_label(re.compile("^wrong")).check()
    expect(page.get_by_text("10 of 240 images").first).to_be_visible()
    expect(page).to_have_url(re.compile("correct=wrong"))
    page.get_by_role("group").filter(has_text="Class").get_by_label(re.compile("^malignant")).first.check()
    expect(page.get_by_role("heading", name="No image is like that")).to_be_visible()
    page.go_back()
    expect(page.get_by_text("10 of 240 images").first).to_be_visible()
    page.get_by_role("button", name="Clear all filters").first.click()
    expect(page.locator(".told")).to_have_text("240 images")


def test_an_address_shows_a_colleague_the_same(gallery, window):
    address = "/grid?label=benign&correct=wrong&sort=error&order=descending&size=large&at=17"
    page = opened_grid(window, gallery, address)
    expect(page.locator(".cell.cursor")).to_have_accessible_name(re.compile("benign/017.jpg"))
    expect(page.get_by_role("combobox", name="Order")).to_have_value("error")
    expect(page.get_by_role("button", name="Descending")).to_be_visible()
    expect(page.get_by_label(re.compile("^wrong"))).to_be_checked()
    expect(page.get_by_role("button", name="large")).to_have_attribute("aria-pressed", "true")


def test_an_image_far_down_is_found(gallery, window):
    page = opened_grid(window, gallery, "/grid?at=230")
    expect(page.locator(".cell.cursor")).to_have_accessible_name(re.compile("malignant/070.jpg"))
    expect(page.locator(".cell.cursor")).to_be_in_viewport()


def test_search_while_typing(gallery, window):
    page = opened_grid(window, gallery)
    page.get_by_role("searchbox").fill("nant/01")
    expect(page.locator(".told")).to_have_text("10 of 240 images")
    expect(cell(page, 0)).to_have_accessible_name(re.compile("malignant/010.jpg"))
    page.get_by_role("searchbox").press("2")
    expect(page.locator(".told")).to_have_text("1 of 240 images")
    assert events(gallery) == []


def test_ranges_by_keys_and_mouse(gallery, window):
    page = opened_grid(window, gallery)
    press(page, "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight")
    expect(page.locator('.cell[aria-selected="true"]')).to_have_count(3)
    cell(page, 6).click(modifiers=["Shift"])
    expect(page.locator('.cell[aria-selected="true"]')).to_have_count(6)
    cell(page, 2).click(modifiers=["Control"])
    expect(page.locator('.cell[aria-selected="true"]')).to_have_count(5)
    cell(page, 9).click(position={"x": 15, "y": 15})
    expect(page.get_by_role("button", name="Unselect 6")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator('.cell[aria-selected="true"]')).to_have_count(0)
    page.keyboard.press("Control+a")
    expect(page.get_by_role("button", name="Unselect 240")).to_be_visible()
    cell(page, 3).click()
    expect(page.locator('.cell[aria-selected="true"]')).to_have_count(0)


# ---- everyone ----------------------------------------------------------------------------------------------


def test_accessible(gallery, window):
    page = opened_grid(window, gallery, "/grid?correct=wrong")
    press(page, "Shift+ArrowRight", "x")
    expect(page.locator(".cell.excluded")).to_have_count(2)
    check_accessible(page)
    press(page, "Enter")
    expect(page.get_by_role("dialog")).to_contain_text("History")
    check_accessible(page)
    press(page, "Escape", "/")
    expect(page.get_by_role("combobox", name="Class")).to_be_visible()
    check_accessible(page)


def test_narrow_windows(gallery, window):
    page = opened_grid(window, gallery, "/grid?correct=wrong", color_scheme="dark")
    check_reflows(page)
    shoot(page, "grid-narrow")
    press(page, "Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    check_reflows(page)
