"""The grid in a real browser: moving, choosing, relabelling and looking closely, by mouse and by keys."""

import re
import time

import numpy as np
import pytest

from browser import check_accessible, check_reflows, expect, opened, shoot
from pictures import write_class_folders
from tellapart.audit.findings import Finding
from tellapart.data.dataset import Dataset
from tellapart.data.journal import Journal, journal_path
from tellapart.data.label_events import Change
from tellapart.records import Predictions

pytestmark = pytest.mark.browser

N_BENIGN, N_MALIGNANT = 160, 80


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two classes of pictures, of which the first cannot be read; tests bring their own journal."""
    counts = {"benign": N_BENIGN, "malignant": N_MALIGNANT}
    folder = write_class_folders(tmp_path_factory.mktemp("grid") / "photos", counts, suffix=".jpg")
    (folder / "benign" / "000.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture
def studio(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("TELLAPART_JOURNAL", str(tmp_path / "labels.sqlite"))
    with opened(pictures) as studio:
        lay_predictions(studio.desk.catalog)
        yield studio


@pytest.fixture
def looked_at(pictures, tmp_path, monkeypatch):
    """A studio that writes nothing."""
    monkeypatch.setenv("TELLAPART_JOURNAL", str(tmp_path / "labels.sqlite"))
    with opened(pictures, read_only=True) as studio:
        yield studio


def lay_predictions(catalog):
    """Of every image, right but for benign 10 to 19; and one suspected label, benign 5."""
    n = len(catalog)
    y_true = (np.arange(n) >= N_BENIGN).astype(np.int64)
    p = np.where(y_true == 1, 0.9, 0.1)
    p[10:20] = 0.8
    ids = tuple(sample.id for sample in catalog.given.samples)
    told = Predictions(ids, y_true, np.stack([1 - p, p], axis=1), ("benign", "malignant"))
    catalog.attach("the run", told, (p >= 0.5).astype(np.int64))
    details = {"label": "benign", "suggested": "malignant", "probability": {"benign": 0.1, "malignant": 0.9}}
    catalog.attach_findings([Finding("suspected label", "warning", "looks malignant", (ids[5],), details)])


def labels(studio):
    """Image -> label of those that the journal corrects."""
    samples = studio.desk.given.samples
    found = Dataset.load(studio.desk.data).samples
    return {new.id: new.label for new, old in zip(found, samples, strict=True) if new.label != old.label}


def events(studio):
    return Journal(journal_path(studio.desk.data)).events()


def cell(page, position):
    return page.locator(f'.cell[aria-posinset="{position + 1}"]')


def cursor_on(page, position):
    return expect(page.locator(".cell.cursor")).to_have_attribute("aria-posinset", str(position + 1))


def until(condition, seconds=5):
    """Wait for what is not in the page."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def n_columns(page):
    return len({cell.bounding_box()["x"] for cell in page.locator(".cell").all()})


def opened_grid(window, studio, address="/grid", **options):
    page = window(studio, address, **options)
    expect(page.locator(".cell").first).to_be_visible()
    return page


# ---- seeing ------------------------------------------------------------------------------------------------


def test_only_what_is_in_sight_is_in_the_page(studio, window):
    page = opened_grid(window, studio)
    expect(page.get_by_role("status").get_by_text("240 images").first).to_be_visible()
    assert 10 < page.locator(".cell").count() < 80
    expect(cell(page, 0)).to_have_attribute("aria-setsize", "240")
    expect(cell(page, 1)).to_have_accessible_name(re.compile("benign, predicted benign 90 %, benign/001.jpg"))
    expect(cell(page, 5)).to_have_accessible_name(re.compile("suspected to be malignant"))
    expect(cell(page, 12)).to_have_accessible_name(re.compile("predicted malignant 80 %"))
    shoot(page, "grid")


def test_the_last_image_is_one_key_away(studio, window):
    page = opened_grid(window, studio)
    page.keyboard.press("End")
    cursor_on(page, 239)
    expect(cell(page, 239)).to_be_in_viewport()
    expect(cell(page, 239)).to_be_focused()
    expect(cell(page, 239)).to_have_accessible_name(re.compile("malignant/079.jpg"))
    assert page.locator(".cell").count() < 80
    press(page, "Home")
    cursor_on(page, 0)


def test_the_cell_with_the_cursor_is_never_recycled(studio, window):
    page = opened_grid(window, studio)
    press(page, "ArrowRight", "ArrowRight")
    page.locator(".host").evaluate("host => { host.scrollTop = 3000; }")
    expect(cell(page, 1)).to_have_count(0)
    expect(cell(page, 2)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(cell(page, 3)).to_be_focused()
    expect(cell(page, 3)).to_be_in_viewport()


def test_arrows_pages_and_edges(studio, window):
    page = opened_grid(window, studio)
    n = n_columns(page)
    press(page, "ArrowLeft", "ArrowUp")
    cursor_on(page, 0)
    press(page, "ArrowDown", "ArrowRight")
    cursor_on(page, n + 1)
    press(page, "PageDown", "PageUp")
    cursor_on(page, n + 1)
    press(page, "End", "ArrowRight")
    cursor_on(page, 239)


def test_three_sizes(studio, window):
    page = opened_grid(window, studio)
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


def test_a_file_that_is_no_picture_gets_a_sign(studio, window):
    page = opened_grid(window, studio)
    expect(cell(page, 0).locator("img")).to_have_js_property("naturalWidth", 160)
    expect(cell(page, 1).locator("img")).to_have_js_property("naturalWidth", 48)


# ---- choosing ----------------------------------------------------------------------------------------------


def test_a_filter_is_in_the_address_and_can_be_gone_back_from(studio, window):
    page = opened_grid(window, studio)
    page.get_by_label(re.compile("^wrong")).check()
    expect(page.get_by_text("10 of 240 images").first).to_be_visible()
    expect(page).to_have_url(re.compile("correct=wrong"))
    page.get_by_role("group").filter(has_text="Class").get_by_label(re.compile("^malignant")).first.check()
    expect(page.get_by_role("heading", name="No image is like that")).to_be_visible()
    page.go_back()
    expect(page.get_by_text("10 of 240 images").first).to_be_visible()
    page.get_by_role("button", name="Clear all filters").first.click()
    expect(page.locator(".told")).to_have_text("240 images")


def test_an_address_shows_a_colleague_the_same(studio, window):
    address = "/grid?label=benign&correct=wrong&sort=error&order=descending&size=large&at=17"
    page = opened_grid(window, studio, address)
    expect(page.locator(".cell.cursor")).to_have_accessible_name(re.compile("benign/017.jpg"))
    expect(page.get_by_role("combobox", name="Order")).to_have_value("error")
    expect(page.get_by_role("button", name="Descending")).to_be_visible()
    expect(page.get_by_label(re.compile("^wrong"))).to_be_checked()
    expect(page.get_by_role("button", name="large")).to_have_attribute("aria-pressed", "true")


def test_an_image_far_down_is_found(studio, window):
    page = opened_grid(window, studio, "/grid?at=230")
    expect(page.locator(".cell.cursor")).to_have_accessible_name(re.compile("malignant/070.jpg"))
    expect(page.locator(".cell.cursor")).to_be_in_viewport()


def test_search_while_typing(studio, window):
    page = opened_grid(window, studio)
    page.get_by_role("searchbox").fill("nant/01")
    expect(page.locator(".told")).to_have_text("10 of 240 images")
    expect(cell(page, 0)).to_have_accessible_name(re.compile("malignant/010.jpg"))
    page.get_by_role("searchbox").press("2")
    expect(page.locator(".told")).to_have_text("1 of 240 images")
    assert events(studio) == []


def test_ranges_by_keys_and_mouse(studio, window):
    page = opened_grid(window, studio)
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


# ---- deciding ----------------------------------------------------------------------------------------------


def test_a_key_labels_and_advances(studio, window):
    page = opened_grid(window, studio)
    press(page, "ArrowRight", "2", "1", "2")
    cursor_on(page, 4)
    until(lambda: labels(studio) == {"benign/001.jpg": "malignant", "benign/003.jpg": "malignant"})
    expect(cell(page, 1).locator(".name")).to_have_text("malignant")
    expect(cell(page, 1)).to_have_class(re.compile("changed"))
    assert {event.source for event in events(studio)} == {"key"}
    press(page, "Backspace")
    cursor_on(page, 3)
    until(lambda: labels(studio) == {"benign/001.jpg": "malignant"})
    expect(cell(page, 3).locator(".name")).to_have_text("benign")


def test_many_are_relabelled_at_once_and_undone(studio, window):
    page = opened_grid(window, studio)
    press(page, "Shift+ArrowRight", "Shift+ArrowRight", "2")
    expect(page.get_by_text("3 images labelled malignant").last).to_be_visible()
    until(lambda: len(labels(studio)) == 3)
    assert {(event.batch, event.source) for event in events(studio)} == {(1, "bulk")}
    expect(page.locator('.cell[aria-selected="true"]')).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    until(lambda: labels(studio) == {})
    expect(cell(page, 0).locator(".name")).to_have_text("benign")


def test_images_never_seen_are_relabelled_too_once_that_was_confirmed(studio, window):
    page = opened_grid(window, studio)
    press(page, "2", "Control+a", "/")
    page.keyboard.type("naevus")
    page.keyboard.press("Enter")
    expect(page.get_by_text("240 images will be labelled naevus")).to_be_visible()
    page.get_by_label("Why?").fill("the clinic calls all of them so")
    page.get_by_role("button", name="Change 240").click()
    until(lambda: len(labels(studio)) == 240, seconds=20)
    assert events(studio)[-1].why == "the clinic calls all of them so"
    press(page, "End")
    expect(page.locator(".cell.cursor .name")).to_have_text("naevus")


def test_saying_no_changes_nothing(studio, window):
    page = opened_grid(window, studio)
    press(page, "Control+a", "x")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert events(studio) == []


def test_a_new_class_by_its_name(studio, window):
    page = opened_grid(window, studio)
    press(page, "/")
    expect(page.get_by_role("combobox", name="Class")).to_be_focused()
    page.keyboard.type("mal")
    expect(page.get_by_role("option", name="malignant", exact=True)).to_have_attribute(
        "aria-selected", "true"
    )
    shoot(page, "grid-picker")
    page.keyboard.type("formed")
    press(page, "Enter")
    until(lambda: labels(studio) == {"benign/000.jpg": "malformed"})
    expect(page.get_by_role("button", name="3 malformed")).to_be_visible()
    expect(page.get_by_label(re.compile("^malformed")).first).to_be_visible()
    press(page, "3")
    until(lambda: len(labels(studio)) == 2)


def test_marks(studio, window):
    page = opened_grid(window, studio)
    press(page, "x", "f")
    expect(cell(page, 0)).to_have_accessible_name(re.compile("excluded, flagged"))
    expect(page.get_by_label(re.compile("^Excluded"))).to_be_visible()
    press(page, "x")
    expect(cell(page, 0)).to_have_accessible_name(re.compile("^benign, flagged"))
    until(
        lambda: (
            [(e.field, e.new) for e in events(studio)]
            == [("excluded", "yes"), ("flagged", "yes"), ("excluded", "")]
        )
    )


def test_a_suggestion_is_accepted(studio, window):
    page = opened_grid(window, studio, "/grid?finding=suspected+label")
    expect(page.locator(".told")).to_have_text("1 of 240 images")
    page.keyboard.press("a")
    until(lambda: labels(studio) == {"benign/005.jpg": "malignant"})
    assert events(studio)[0].source == "suggestion"


def test_a_list_stays_while_its_images_are_relabelled(studio, window):
    page = opened_grid(window, studio, "/grid?correct=wrong")
    press(page, "2", "2", "2")
    until(lambda: len(labels(studio)) == 3)
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


def test_a_list_that_the_studio_no_longer_has_labels_no_other_images(studio, window):
    """Images never seen are selected by their places in a list; in another list these are of others."""
    window.expected = ["status of 409"]
    page = opened_grid(window, studio, "/grid?sort=confidence")
    press(page, "2")
    until(lambda: len(events(studio)) == 1)
    look_at_other_lists(page)
    press(page, "Control+a", "x")
    expect(page.locator(".toast").last).to_contain_text("had this list no longer, and made it anew")
    expect(page.locator(".toast").last).to_contain_text(
        "100 of the 240 images that you had selected still are"
    )
    expect(page.get_by_role("button", name="Unselect 100")).to_be_visible()
    assert len(events(studio)) == 1
    press(page, "x")  # what is selected now has been seen
    until(lambda: len(events(studio)) == 101)


def test_a_list_made_anew_while_scrolling_keeps_cursor_and_selection(studio, window):
    page = opened_grid(window, studio, "/grid?at=30")
    press(page, "Shift+ArrowRight", "Shift+ArrowRight")
    cursor_on(page, 32)
    relabel(studio, "malignant/001.jpg", "benign")
    expect(page.get_by_label(re.compile("^benign")).first).to_have_accessible_name(re.compile("161"))
    look_at_other_lists(page)
    page.locator(".host").evaluate("host => { host.scrollTop = host.scrollHeight; }")
    expect(page.locator(".toast").last).to_contain_text("3 of the 3 images that you had selected still are")
    expect(page.locator(".cell.cursor")).to_have_accessible_name(re.compile("benign/032.jpg"))
    expect(page.locator('.cell[aria-selected="true"]')).to_have_count(3)
    expect(page.locator(".cell.cursor")).to_be_in_viewport()


def relabel(studio, sample_id, new):
    catalog = studio.desk.catalog
    old, i = sample_id.partition("/")[0], catalog.index(sample_id)
    change = Change(sample_id, "label", old, new, old, catalog.sha256(i))
    studio.desk.journal.write([change], actor="bob")


def test_of_two_tabs_the_second_is_told_of_the_conflict_and_decides(studio, window):
    """Neither hears what the other does, as when both are quick; the second asks before it writes over it."""
    window.expected = ["status of 409"]
    one = opened_grid(window, studio)
    other = window.tab(one.context)
    for page in (one, other):
        page.route("**/api/changes", lambda route: None)
        page.goto(f"{studio.url}/grid")
        expect(cell(page, 1)).to_be_visible()
    press(one, "ArrowRight", "2")
    until(lambda: labels(studio) == {"benign/001.jpg": "malignant"})
    press(other, "ArrowRight", "/")
    other.keyboard.type("naevus")
    press(other, "Enter")
    conflict = other.get_by_role("dialog", name="Changed elsewhere")
    row = conflict.get_by_role("row", name="benign/001.jpg")
    expect(row).to_have_text(re.compile(r"benign/001\.jpg\s*malignant\s*ada\s*naevus"))
    expect(cell(other, 1).locator(".name")).to_have_text("malignant")
    assert [event.new for event in events(studio)] == ["malignant"]
    conflict.get_by_role("button", name="Write mine over it").press("Enter")
    until(lambda: labels(studio) == {"benign/001.jpg": "naevus"})
    assert [(event.old, event.new) for event in events(studio)] == [
        ("benign", "malignant"),
        ("malignant", "naevus"),
    ]


def test_what_others_change_is_shown(studio, window):
    page = opened_grid(window, studio)
    relabel(studio, "benign/002.jpg", "malignant")
    expect(cell(page, 2).locator(".name")).to_have_text("malignant")


def test_read_only(looked_at, window):
    page = opened_grid(window, looked_at)
    expect(page.get_by_role("button", name="Exclude")).to_have_count(0)
    press(page, "2")
    expect(page.get_by_text("only reads").first).to_be_visible()


# ---- looking closely ---------------------------------------------------------------------------------------


def test_close_up(studio, window):
    page = opened_grid(window, studio)
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
    until(lambda: labels(studio) == {"benign/002.jpg": "malignant"})
    press(page, "p")
    expect(box).to_contain_text("benign → malignant")
    press(page, "Control+z")
    expect(box.get_by_role("heading", name="benign")).to_be_visible()
    until(lambda: labels(studio) == {})
    press(page, "Escape")
    expect(box).to_have_count(0)
    expect(cell(page, 2)).to_be_focused()
    assert "zoom" not in page.url


def test_going_back_from_a_close_up_leaves_the_address_of_the_other_view_alone(studio, window):
    page = window(studio, "/history?actor=ada")
    expect(page.get_by_text("0 batches")).to_be_visible()
    press(page, "g", "g")
    expect(page.locator(".cell").first).to_be_visible()
    press(page, "ArrowRight", "Enter")
    expect(page.get_by_role("dialog")).to_contain_text("2 of 240")
    while "/grid" in page.url:
        page.go_back()
    expect(page.get_by_text("0 batches")).to_be_visible()
    page.wait_for_timeout(600)  # as long as the grid may wait before it writes where its cursor is
    assert page.url == f"{studio.url}/history?actor=ada"


def test_pixel_by_pixel(studio, window):
    page = opened_grid(window, studio, "/grid?at=3&zoom=yes")
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


def test_closely_only_what_is_seen_is_relabelled(studio, window):
    page = opened_grid(window, studio)
    press(page, "Shift+ArrowRight", "Shift+ArrowRight", "Enter")
    expect(page.get_by_role("dialog")).to_contain_text("3 of 240")
    press(page, "2")
    until(lambda: labels(studio) == {"benign/002.jpg": "malignant"})


def test_a_file_that_is_no_picture_says_why(studio, window):
    window.expected.append("status of 404")
    page = opened_grid(window, studio, "/grid?at=0&zoom=yes")
    expect(page.get_by_role("dialog")).to_contain_text("not an image, or damaged in its header")


# ---- everyone ----------------------------------------------------------------------------------------------


def test_accessible(studio, window):
    page = opened_grid(window, studio, "/grid?correct=wrong")
    press(page, "Shift+ArrowRight", "x")
    expect(page.locator(".cell.excluded")).to_have_count(2)
    check_accessible(page)
    press(page, "Enter")
    expect(page.get_by_role("dialog")).to_contain_text("History")
    check_accessible(page)
    press(page, "Escape", "/")
    expect(page.get_by_role("combobox", name="Class")).to_be_visible()
    check_accessible(page)


def test_narrow_windows(studio, window):
    page = opened_grid(window, studio, "/grid?correct=wrong", color_scheme="dark")
    check_reflows(page)
    shoot(page, "grid-narrow")
    press(page, "Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    check_reflows(page)
