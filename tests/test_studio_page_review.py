"""The review in a browser: one key to confirm, two to relabel, and back with Backspace."""

import pytest

from browser import check_accessible, check_reflows, expect, served, shoot
from desks import ask, clinic, number

pytestmark = pytest.mark.browser


@pytest.fixture
def studio(tmp_path):
    with served(clinic(tmp_path / "clinic")) as running:
        yield running


def heading(page):
    return page.locator(".judge h2")


def fields(desk):
    return [(event.sample_id, event.field, event.new) for event in desk.journal.events()]


def test_one_key_confirms_and_one_accepts(studio, window):
    page = window(studio, "/review")
    expect(heading(page)).to_have_text("Labelled benign, looks like malignant")
    expect(page.locator(".path").first).to_have_text("train/benign/000.jpg")
    expect(page.locator(".neighbours li")).to_have_count(5)
    page.keyboard.press("a")
    expect(page.locator("figcaption .path")).to_have_text("train/benign/001.jpg")
    page.keyboard.press("k")
    expect(page.locator("figcaption .path")).to_have_text("train/malignant/002.jpg")
    page.keyboard.press("1")
    expect(page.locator(".latest")).to_have_text("Of your last 3, 2 were errors")
    expect(page.locator(".progress")).to_contain_text("3 of 5 answered")
    assert fields(studio.desk) == [
        ("train/benign/000.jpg", "review", "malignant"),
        ("train/benign/000.jpg", "label", "malignant"),
        ("train/benign/001.jpg", "review", "benign"),
        ("train/malignant/002.jpg", "review", "benign"),
        ("train/malignant/002.jpg", "label", "benign"),
    ]


def test_backspace_takes_back_and_goes_back(studio, window):
    page = window(studio, "/review")
    expect(heading(page)).to_be_visible()
    page.keyboard.press("a")
    expect(page.locator("figcaption .path")).to_have_text("train/benign/001.jpg")
    page.keyboard.press("s")
    expect(page.locator("figcaption .path")).to_have_text("train/malignant/002.jpg")
    page.keyboard.press("Backspace")  # the skip wrote nothing
    expect(page.locator("figcaption .path")).to_have_text("train/benign/001.jpg")
    page.keyboard.press("Backspace")
    expect(page.locator("figcaption .path")).to_have_text("train/benign/000.jpg")
    expect(page.locator(".progress")).to_contain_text("0 of 5 answered")
    first = number(studio.desk, "train/benign/000.jpg")
    assert studio.desk.catalog.item(first)["reviewed"] is False
    assert studio.desk.catalog.label(first) == "benign"


def test_excluding_and_flagging(studio, window):
    page = window(studio, "/review")
    expect(heading(page)).to_be_visible()
    page.keyboard.press("f")
    expect(page.locator("figcaption .badge")).to_have_text("flagged")
    page.keyboard.press("x")
    expect(page.locator("figcaption .path")).to_have_text("train/benign/001.jpg")
    expect(page.locator(".latest")).to_have_text("Of your last 1, 0 were errors, 1 excluded")
    page.keyboard.press("p")
    expect(page.locator("figcaption")).to_contain_text("excluded")
    expect(page.locator("figcaption")).to_contain_text("you said not to be used")


def test_in_the_blind_nothing_is_told_until_one_has_answered(studio, window):
    page = window(studio, "/review?blind=yes")
    expect(heading(page)).to_have_text("What is it?")
    shown = page.locator("main").inner_text()
    assert "looks like" not in shown
    assert "train/benign" not in page.locator("main").inner_html()
    page.keyboard.press("a")  # there is no suggestion to accept
    page.keyboard.press("k")
    assert fields(studio.desk) == []
    page.keyboard.press("2")
    expect(heading(page)).to_have_text("You say malignant; the label is benign")
    assert fields(studio.desk) == [("train/benign/000.jpg", "review", "malignant")]
    shoot(page, "review-blind")
    page.keyboard.press("a")
    expect(heading(page)).to_have_text("What is it?")
    expect(page.locator(".progress")).to_contain_text("1 of 5 answered")
    page.keyboard.press("1")  # agrees with the label: on to the next at once
    expect(page.locator(".progress")).to_contain_text("2 of 5 answered")
    expect(heading(page)).to_have_text("What is it?")
    page.keyboard.press("b")
    expect(heading(page)).to_contain_text("Labelled")
    assert fields(studio.desk)[1:] == [
        ("train/benign/000.jpg", "label", "malignant"),
        ("train/benign/001.jpg", "review", "benign"),
    ]


def test_what_somebody_else_changed_meanwhile_is_told_and_kept(studio, window, tmp_path):
    window.expected = ["status of 409"]
    page = window(studio, "/review")
    expect(heading(page)).to_be_visible()
    other = clinic(tmp_path / "clinic", actor="ben")
    i = number(other, "train/benign/000.jpg")
    ask(other, "write", items=[i], field="label", seen=["benign"], new="nevus")
    page.keyboard.press("k")
    expect(page.locator(".toast")).to_contain_text("label is nevus (by ben")
    expect(heading(page)).to_contain_text("Labelled nevus")
    assert [event.actor for event in studio.desk.journal.events()] == ["ben"]


def test_a_neighbour_opens(studio, window):
    page = window(studio, "/review")
    page.locator(".neighbour").nth(1).click()
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("train/malignant/001.jpg")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_two_reviewers_and_what_they_disagree_on(studio, window, tmp_path):
    answers = {
        "anna": ["malignant", "malignant", "benign", "benign"],
        "ben": ["malignant", "benign", "benign", "benign"],
    }
    for name, said in answers.items():
        desk = clinic(tmp_path / "clinic", actor=name)
        for i, answer in zip(ask(desk, "queue")["images"], said, strict=False):
            ask(desk, "decide", i=i, answer=answer, seen=desk.catalog.label(i), apply=False)
    page = window(studio, "/review?tab=agreement")
    row = page.locator("tbody tr").first
    expect(row).to_contain_text("anna and ben")
    expect(row).to_contain_text("75.0 %")
    expect(row).to_contain_text("0.50")
    expect(page.get_by_role("heading", name="1 image on which answers differ")).to_be_visible()
    shoot(page, "review-agreement")
    page.get_by_role("group", name="Settle train/benign/001.jpg").get_by_role(
        "button", name="malignant"
    ).click()
    expect(page.get_by_role("region", name="Disagreements")).to_contain_text("settled by anna")
    i = number(studio.desk, "train/benign/001.jpg")
    assert studio.desk.catalog.item(i)["label"] == "malignant"


def test_the_whole_review_without_a_mouse_and_its_end(studio, window):
    page = window(studio, "/review")
    expect(heading(page)).to_be_visible()
    for n in range(5):
        page.keyboard.press("k")
        expect(page.locator(".progress")).to_contain_text(f"{n + 1} of 5 answered")
    expect(page.locator("figcaption")).to_contain_text("you said")
    assert ask(studio.desk, "queue")["open"] == []


def test_a_key_pressed_too_fast_never_decides_twice_on_one_image(studio, window):
    page = window(studio, "/review")
    expect(heading(page)).to_be_visible()
    press = (
        'document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "2", code: "Digit2", bubbles: true}))'
    )
    page.evaluate(f"() => {{ for (let n = 0; n < 4; n++) {press}; }}")
    expect(page.locator(".progress")).to_contain_text("1 of 5 answered")
    page.keyboard.press("k")
    expect(page.locator(".progress")).to_contain_text("2 of 5 answered")
    answered = [sample_id for sample_id, field, _ in fields(studio.desk) if field == "review"]
    assert answered == ["train/benign/000.jpg", "train/benign/001.jpg"]


def test_it_is_accessible_and_fits_a_narrow_window(studio, window):
    page = window(studio, "/review")
    expect(heading(page)).to_be_visible()
    page.wait_for_load_state("networkidle")
    shoot(page, "review")
    check_accessible(page)
    page.emulate_media(color_scheme="dark")
    shoot(page, "review-dark")
    check_reflows(page)
    shoot(page, "review-narrow", full=True)
