"""The grid in a real browser: labels and marks, of one image or many, also while others change them."""

import re

import pytest

from browser import expect, shoot
from grids import cell, cursor_on, events, labels, opened_grid, press
from processes import eventually
from tellapart.data.label_events import Change

pytestmark = pytest.mark.browser


def test_a_key_labels_and_advances(gallery, window):
    page = opened_grid(window, gallery)
    press(page, "ArrowRight", "2", "1", "2")
    cursor_on(page, 4)
    eventually(lambda: labels(gallery) == {"benign/001.jpg": "malignant", "benign/003.jpg": "malignant"})
    expect(cell(page, 1).locator(".name")).to_have_text("malignant")
    expect(cell(page, 1)).to_have_class(re.compile("changed"))
    assert {event.source for event in events(gallery)} == {"key"}
    press(page, "Backspace")
    cursor_on(page, 3)
    eventually(lambda: labels(gallery) == {"benign/001.jpg": "malignant"})
    expect(cell(page, 3).locator(".name")).to_have_text("benign")


def test_many_are_relabelled_at_once_and_undone(gallery, window):
    page = opened_grid(window, gallery)
    press(page, "Shift+ArrowRight", "Shift+ArrowRight", "2")
    expect(page.get_by_text("3 images labelled malignant").last).to_be_visible()
    eventually(lambda: len(labels(gallery)) == 3)
    assert {(event.batch, event.source) for event in events(gallery)} == {(1, "bulk")}
    expect(page.locator('.cell[aria-selected="true"]')).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    eventually(lambda: labels(gallery) == {})
    expect(cell(page, 0).locator(".name")).to_have_text("benign")


def test_images_never_seen_are_relabelled_too_once_that_was_confirmed(gallery, window):
    page = opened_grid(window, gallery)
    press(page, "2", "Control+a", "/")
    page.keyboard.type("naevus")
    page.keyboard.press("Enter")
    expect(page.get_by_text("240 images will be labelled naevus")).to_be_visible()
    page.get_by_label("Why?").fill("the clinic calls all of them so")
    page.get_by_role("button", name="Change 240").click()
    eventually(lambda: len(labels(gallery)) == 240, timeout_s=20)
    assert events(gallery)[-1].why == "the clinic calls all of them so"
    press(page, "End")
    expect(page.locator(".cell.cursor .name")).to_have_text("naevus")


def test_saying_no_changes_nothing(gallery, window):
    page = opened_grid(window, gallery)
    press(page, "Control+a", "x")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert events(gallery) == []


def test_a_new_class_by_its_name(gallery, window):
    page = opened_grid(window, gallery)
    press(page, "/")
    expect(page.get_by_role("combobox", name="Class")).to_be_focused()
    page.keyboard.type("mal")
    expect(page.get_by_role("option", name="malignant", exact=True)).to_have_attribute(
        "aria-selected", "true"
    )
    shoot(page, "grid-picker")
    page.keyboard.type("formed")
    press(page, "Enter")
    eventually(lambda: labels(gallery) == {"benign/000.jpg": "malformed"})
    expect(page.get_by_role("button", name="3 malformed")).to_be_visible()
    expect(page.get_by_label(re.compile("^malformed")).first).to_be_visible()
    press(page, "3")
    eventually(lambda: len(labels(gallery)) == 2)


def test_marks(gallery, window):
    page = opened_grid(window, gallery)
    press(page, "x", "f")
    expect(cell(page, 0)).to_have_accessible_name(re.compile("excluded, flagged"))
    expect(page.get_by_label(re.compile("^Excluded"))).to_be_visible()
    press(page, "x")
    expect(cell(page, 0)).to_have_accessible_name(re.compile("^benign, flagged"))
    eventually(
        lambda: (
            [(e.field, e.new) for e in events(gallery)]
            == [("excluded", "yes"), ("flagged", "yes"), ("excluded", "")]
        )
    )


def test_a_suggestion_is_accepted(gallery, window):
    page = opened_grid(window, gallery, "/grid?finding=suspected+label")
    expect(page.locator(".told")).to_have_text("1 of 240 images")
    page.keyboard.press("a")
    eventually(lambda: labels(gallery) == {"benign/005.jpg": "malignant"})
    assert events(gallery)[0].source == "suggestion"


def test_a_list_stays_while_its_images_are_relabelled(gallery, window):
    page = opened_grid(window, gallery, "/grid?correct=wrong")
    press(page, "2", "2", "2")
    eventually(lambda: len(labels(gallery)) == 3)
    expect(page.get_by_label(re.compile("^wrong"))).to_have_accessible_name(re.compile("7"))
    cursor_on(page, 3)
    expect(cell(page, 0)).to_have_accessible_name(re.compile("benign/010.jpg"))
    expect(cell(page, 0)).to_have_class(re.compile("touched"))
    page.get_by_role("button", name="Refresh the list: 3 changed").click()
    expect(page.locator(".told")).to_have_text("7 of 240 images")
    expect(page.locator(".cell.cursor")).to_have_accessible_name(re.compile("benign/013.jpg"))


def look_at_other_lists(page, n=30):
    """So many that the studio no longer keeps the first."""
    page.evaluate(
        """async (n) => {
      const { httpTransport } = await import("/static/core/transport.js");
      const { ask } = httpTransport();
      for (let k = 0; k < n; k++) await ask("items", { search: `${k}`, count: 1 });
    }""",
        n,
    )


def test_a_list_that_the_studio_no_longer_has_labels_no_other_images(gallery, window):
    """Images never seen are selected by their places in a list; in another list these are of others."""
    window.expected = ["status of 409"]
    page = opened_grid(window, gallery, "/grid?sort=confidence")
    press(page, "2")
    eventually(lambda: len(events(gallery)) == 1)
    look_at_other_lists(page)
    press(page, "Control+a", "x")
    expect(page.locator(".toast").last).to_contain_text("had this list no longer, and made it anew")
    expect(page.locator(".toast").last).to_contain_text(
        "100 of the 240 images that you had selected still are"
    )
    expect(page.get_by_role("button", name="Unselect 100")).to_be_visible()
    assert len(events(gallery)) == 1
    press(page, "x")  # what is selected now has been seen
    eventually(lambda: len(events(gallery)) == 101)


def test_a_list_made_anew_while_scrolling_keeps_cursor_and_selection(gallery, window):
    page = opened_grid(window, gallery, "/grid?at=30")
    press(page, "Shift+ArrowRight", "Shift+ArrowRight")
    cursor_on(page, 32)
    relabel(gallery, "malignant/001.jpg", "benign")
    expect(page.get_by_label(re.compile("^benign")).first).to_have_accessible_name(re.compile("161"))
    look_at_other_lists(page)
    page.locator(".host").evaluate("host => { host.scrollTop = host.scrollHeight; }")
    expect(page.locator(".toast").last).to_contain_text("3 of the 3 images that you had selected still are")
    expect(page.locator(".cell.cursor")).to_have_accessible_name(re.compile("benign/032.jpg"))
    expect(page.locator('.cell[aria-selected="true"]')).to_have_count(3)
    expect(page.locator(".cell.cursor")).to_be_in_viewport()


def relabel(gallery, sample_id, new):
    catalog = gallery.desk.catalog
    old, i = sample_id.partition("/")[0], catalog.index(sample_id)
    change = Change(sample_id, "label", old, new, old, catalog.sha256(i))
    gallery.desk.journal.write([change], actor="bob")


def test_of_two_tabs_the_second_is_told_of_the_conflict_and_decides(gallery, window):
    """Neither hears what the other does, as when both are quick; the second asks before it writes over it."""
    window.expected = ["status of 409"]
    one = opened_grid(window, gallery)
    other = window.tab(one.context)
    for page in (one, other):
        page.route("**/api/changes", lambda route: None)
        page.goto(f"{gallery.url}/grid")
        expect(cell(page, 1)).to_be_visible()
    press(one, "ArrowRight", "2")
    eventually(lambda: labels(gallery) == {"benign/001.jpg": "malignant"})
    press(other, "ArrowRight", "/")
    other.keyboard.type("naevus")
    press(other, "Enter")
    conflict = other.get_by_role("dialog", name="Changed elsewhere")
    row = conflict.get_by_role("row", name="benign/001.jpg")
    expect(row).to_have_text(re.compile(r"benign/001\.jpg\s*malignant\s*ada\s*naevus"))
    expect(cell(other, 1).locator(".name")).to_have_text("malignant")
    assert [event.new for event in events(gallery)] == ["malignant"]
    conflict.get_by_role("button", name="Write mine over it").press("Enter")
    eventually(lambda: labels(gallery) == {"benign/001.jpg": "naevus"})
    assert [(event.old, event.new) for event in events(gallery)] == [
        ("benign", "malignant"),
        ("malignant", "naevus"),
    ]


def test_what_others_change_is_shown(gallery, window):
    page = opened_grid(window, gallery)
    relabel(gallery, "benign/002.jpg", "malignant")
    expect(cell(page, 2).locator(".name")).to_have_text("malignant")


def test_read_only(gallery_to_look_at, window):
    page = opened_grid(window, gallery_to_look_at)
    expect(page.get_by_role("button", name="Exclude")).to_have_count(0)
    press(page, "2")
    expect(page.get_by_text("only reads").first).to_be_visible()
