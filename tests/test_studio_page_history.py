"""History in a browser: what was done, taking it back, and showing that nobody has touched it."""

import csv
import io
import sqlite3

import pytest

from browser import check_accessible, check_reflows, expect, served, shoot, tab_to
from desks import ask, clinic, number
from tellapart.data.label_events import Change

pytestmark = pytest.mark.browser


@pytest.fixture
def studio(tmp_path):
    """Three batches by two people."""
    desk = clinic(tmp_path / "clinic")
    ben = clinic(tmp_path / "clinic", actor="ben")
    benign = [i for i in range(len(desk.catalog)) if desk.catalog.label(i) == "benign"][:3]
    ask(
        desk,
        "write",
        items=benign,
        field="label",
        seen=["benign"] * 3,
        new="malignant",
        why="second look",
        source="bulk",
    )
    ask(ben, "write", items=[benign[0]], field="excluded", seen=[""], new="yes", why="ruler in view")
    ask(desk, "decide", i=benign[1], answer="benign", seen="malignant")
    with served(desk) as running:
        yield running


def batches(page):
    return page.locator(".batches li")


def test_the_newest_comes_first_and_any_batch_is_taken_back(studio, window):
    page = window(studio, "/history")
    expect(batches(page)).to_have_count(3)
    expect(batches(page).nth(0)).to_contain_text("malignant → benign")
    expect(batches(page).nth(1)).to_contain_text("ben ·")
    expect(batches(page).nth(1)).to_contain_text("“ruler in view”")
    expect(batches(page).nth(2)).to_contain_text("3 × benign → malignant")
    page.get_by_role("button", name="Undo batch 2").click()  # older, and another's: asked first
    page.locator("dialog[open]").get_by_role("button", name="Take it back").click()
    expect(batches(page)).to_have_count(4)
    expect(batches(page).nth(0)).to_contain_text("taken in again")
    expect(batches(page).nth(2)).to_contain_text("taken back")
    page.get_by_role("button", name="Redo batch 4").click()  # the newest, and one's own: at once
    expect(batches(page)).to_have_count(5)
    assert [event.undoes for event in studio.desk.journal.events()][-2:] == [2, 4]


def test_of_more_batches_than_one_answer_holds_the_first_can_be_undone(studio, window):
    desk, name = studio.desk, "train/benign/006.jpg"
    sha256 = desk.catalog.sha256(number(desk, name))
    for old, new in [("", "yes"), ("yes", "")] * 500:
        desk.journal.write([Change(name, "flagged", old, new, sha256=sha256)], actor="anna")
    page = window(studio, "/history")
    expect(page.get_by_text("1,003 batches")).to_be_visible()
    older = page.get_by_role("button", name="Older")
    for n in (50, 100, 200, 400, 800):
        expect(batches(page)).to_have_count(n)
        older.press("Enter")
    expect(batches(page)).to_have_count(1003, timeout=30_000)
    expect(older).to_have_count(0)
    page.get_by_role("button", name="Undo batch 2", exact=True).click()
    page.locator("dialog[open]").get_by_role("button", name="Take it back").click()
    expect(batches(page)).to_have_count(1004, timeout=30_000)
    expect(batches(page).nth(0)).to_contain_text("taken in again")


def test_a_batch_is_taken_back_without_a_mouse(studio, window):
    page = window(studio, "/grid")
    expect(page.locator(".cell").first).to_be_visible()
    for key in ("g", "i"):
        page.keyboard.press(key)
    expect(batches(page)).to_have_count(3)
    tab_to(page, page.get_by_role("button", name="Undo batch 2"))
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # yes, take it back
    expect(batches(page)).to_have_count(4)
    expect(batches(page).nth(0)).to_contain_text("taken in again")


def test_an_undo_that_would_undo_more_is_refused_and_said(studio, window):
    window.expected = ["status of 409"]
    page = window(studio, "/history")
    page.get_by_role("button", name="Undo batch 1").click()
    page.locator("dialog[open]").get_by_role("button", name="Take it back").click()
    expect(page.locator(".toast")).to_contain_text("label is benign (by anna")
    expect(batches(page)).to_have_count(3)


def test_it_is_filtered_by_an_address_that_can_be_sent(studio, window):
    page = window(studio, "/history?actor=ben")
    expect(batches(page)).to_have_count(1)
    page.get_by_label("Everybody").select_option("anna")
    expect(batches(page)).to_have_count(2)
    assert "actor=anna" in page.url


def test_the_chain_is_verified_and_a_hash_noted_earlier_is_found(studio, window):
    page = window(studio, "/history")
    head = page.locator(".chain .head")
    expect(head).to_have_text(studio.desk.journal.verify())
    noted = studio.desk.journal.events()[0].hash[:16]
    page.get_by_label("A hash from earlier").fill(noted)
    page.get_by_label("A hash from earlier").press("Enter")
    expect(page.locator(".chain")).to_contain_text("the hash that you gave is among theirs")
    page.get_by_label("A hash from earlier").fill("f" * 16)
    page.get_by_label("A hash from earlier").press("Enter")
    expect(page.locator(".chain [role=alert]")).to_contain_text("no event has the hash")


def test_tampering_shows(studio, window):
    with sqlite3.connect(studio.desk.journal.path) as connection:
        connection.execute("DROP TRIGGER no_UPDATE")
        connection.execute("UPDATE event SET actor = 'zoe' WHERE seq = 1")
    connection.close()
    page = window(studio, "/history")
    expect(page.locator(".chain [role=alert]")).to_contain_text("event 1 is not as it was written")


def test_labels_are_taken_away_as_csv(studio, window):
    page = window(studio, "/history")
    with page.expect_download() as caught:
        page.get_by_role("button", name="Labels (CSV)").click()
    assert caught.value.suggested_filename == "labels.csv"
    rows = list(csv.DictReader(io.StringIO(caught.value.path().read_text())))
    assert sum(row["label"] != row["given"] for row in rows) == 2
    assert [row["why"] for row in rows if row["excluded"]] == ["ruler in view"]


def test_what_two_moments_differ_in(studio, window):
    page = window(studio, "/history")
    page.get_by_text("What two moments differ in").click()
    page.get_by_label("From", exact=True).fill("2020-01-01T00:00:00")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("details")).to_contain_text("3 differences")
    expect(page.locator("details tbody tr")).to_have_count(3)


def test_it_is_accessible_and_fits_a_narrow_window(studio, window):
    page = window(studio, "/history")
    expect(batches(page)).to_have_count(3)
    shoot(page, "history")
    check_accessible(page)
    page.emulate_media(color_scheme="dark")
    shoot(page, "history-dark")
    check_reflows(page)
    shoot(page, "history-narrow", full=True)
