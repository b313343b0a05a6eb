"""The threshold in a real browser: moved by keys, clicks and rules, used for a reason, stored."""

import json
import re

import pytest

from browser import check_accessible, check_reflows, expect, opened, shoot
from doubtful import doubtful_run
from tellapart.bundle import Bundle
from tellapart.evaluation.tables import read_predictions

pytestmark = pytest.mark.browser


@pytest.fixture
def run(trained, tmp_path):
    return doubtful_run(trained.folder, tmp_path / "runs" / "lesions")


@pytest.fixture
def studio(run, photos):
    with opened(run) as studio:
        yield studio


@pytest.fixture
def page(studio, window):
    page = window(studio, "/threshold")
    page.get_by_role("slider", name="Threshold").wait_for()
    return page


def figure(page, name):
    return page.locator(f".ta-explorer [data-figure={name}]")


def at(page):
    """The threshold that the address names, once it has settled."""
    expect(page).to_have_url(re.compile(r"[?&]at="))
    page.wait_for_timeout(400)
    return float(re.search(r"[?&]at=([^&]+)", page.url)[1])


def test_the_whole_way_by_keys(page, run):
    """Tab to the slider, move it, say why, use it: in the bundle, and the test was looked at once more."""
    before = at(page)
    page.get_by_role("slider", name="Threshold").focus()
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    value = at(page)
    assert value < before
    said = read_predictions(run / "validation.csv")
    positive, score = said.y_true == 1, said.y_prob[:, 1]
    found = (score[positive] >= value).sum()
    expect(figure(page, "tp")).to_have_text(str(found))
    expect(figure(page, "sensitivity")).to_contain_text(f"{100 * found / positive.sum():.1f} %")
    expect(page.get_by_text("looked at once: after training")).to_be_visible()
    page.get_by_label("Why this threshold?").focus()
    page.keyboard.type("a missed melanoma costs more")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="is in use")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("looked at twice: after training")).to_be_visible()
    stored = Bundle.load(run).card.threshold
    assert (stored.value, stored.chosen_by, stored.rule) == (value, "ada", "set by hand")
    assert stored.why == "a missed melanoma costs more"
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text())
    shown = page.get_by_role("region", name="Figures on the test set").locator("[data-figure=sensitivity]")
    expect(shown).to_contain_text(f"{100 * metrics['sensitivity']['value']:.1f} %")
    expect(page.locator(".ta-value")).to_contain_text("(in use)")
    page.get_by_role("link", name="Results").press("Enter")
    basis = page.get_by_text(f"From a probability of {value:.3f} on, the answer is “malignant”")
    expect(basis).to_contain_text("(set by hand, ")
    shown = page.locator(".cards li").filter(has_text="Sensitivity").locator(".value")
    expect(shown).to_have_text(f"{100 * metrics['sensitivity']['value']:.1f} %")


def test_a_click_on_a_curve_moves_it_and_a_link_shows_the_same(page, window, studio):
    curve = page.locator(".ta-movable").first
    box = curve.bounding_box()
    page.mouse.click(box["x"] + 0.15 * box["width"], box["y"] + 0.2 * box["height"])
    first = at(page)
    page.mouse.move(box["x"] + 0.15 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.1 * box["height"], steps=5)
    page.mouse.up()
    assert at(page) < first
    colleague = window(studio, page.url.removeprefix(studio.url))
    for name in ("tp", "fp", "fn", "tn"):
        expect(figure(colleague, name)).to_have_text(figure(page, name).inner_text())


def test_rules_choose_and_their_name_is_stored(page, run):
    before = at(page)
    field = page.get_by_role("form", name="Reach this sensitivity")
    field.get_by_label("Sensitivity of at least").fill("90")
    field.get_by_role("button").click()
    expect(page).not_to_have_url(re.compile(re.escape(f"at={before}")))
    value = at(page)
    said = read_predictions(run / "validation.csv")
    assert (said.y_prob[said.y_true == 1, 1] >= value).mean() >= 0.9
    page.get_by_label("Why this threshold?").fill("the clinic asks for it")
    page.get_by_role("button", name="Use this threshold").click()
    expect(page.get_by_role("heading", name="is in use")).to_be_visible(timeout=60_000)
    assert Bundle.load(run).card.threshold.rule == "sensitivity of at least 0.9"


def test_a_band_for_a_person(page, run):
    page.get_by_role("form", name="Leave the rest to a person").get_by_role("button").click()
    expect(page.get_by_text(re.compile(r"In between, \d+ of 56 images go to a person"))).to_be_visible()
    page.get_by_role("button", name="Move the other end").click()
    page.get_by_role("slider", name="Threshold").press("ArrowLeft")
    at(page)
    shoot(page, "threshold", full=True)
    page.get_by_label("Why this threshold?").fill("we have a reader for the doubtful ones")
    page.get_by_role("button", name="Use this threshold").click()
    expect(page.get_by_text("With the band,")).to_be_visible(timeout=60_000)
    stored = Bundle.load(run).card.threshold
    assert stored.band is not None
    assert stored.band[0] == stored.value < stored.band[1]
    page.reload()
    expect(page.get_by_text(re.compile(r"In between, \d+ of 56 images go to a person"))).to_be_visible()


def test_what_cannot_be_reached_is_told(page, window):
    window.expected.append("status of 400")
    field = page.get_by_role("form", name="Reach this sensitivity")
    field.get_by_label("Sensitivity of at least").fill("99.9")
    field.get_by_label("by the lower end").check()
    field.get_by_role("button").click()
    expect(page.get_by_text("no threshold surely reaches")).to_be_visible()


def test_an_image_near_the_threshold_opens_and_leads_to_the_grid(page):
    page.locator(".strip .picture").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".look > img")).to_have_js_property("complete", True)
    assert dialog.locator(".look > img").evaluate("img => img.naturalWidth") > 0
    dialog.get_by_role("button", name="Look closer and relabel").click()
    expect(page.locator("dialog.zoom")).to_be_visible()
    expect(page).to_have_url(re.compile("/grid"))
    page.go_back()
    page.get_by_role("slider", name="Threshold").wait_for()


def test_prevalence_changes_what_is_expected_of_a_call(page, run):
    value = at(page)
    said = read_predictions(run / "validation.csv")
    positive, called = said.y_true == 1, said.y_prob[:, 1] >= value
    sensitivity, alarms = called[positive].mean(), called[~positive].mean()
    before = figure(page, "sensitivity").text_content()
    page.locator(".ta-controls").get_by_role("spinbutton", name="Prevalence").fill("5")
    ppv = sensitivity * 0.05 / (sensitivity * 0.05 + alarms * 0.95)
    expect(figure(page, "ppv")).to_contain_text(f"{100 * ppv:.1f} %")
    expect(figure(page, "ppv").locator("small")).to_contain_text(" to ")
    expect(figure(page, "sensitivity")).to_have_text(before)


def test_prevalence_is_moved_by_keys_where_it_is_low_as_finely_as_where_it_is_high(page):
    number = page.get_by_role("spinbutton", name="Prevalence %", exact=True)
    slider = page.get_by_role("slider", name="Prevalence")
    number.fill("1")
    before = figure(page, "ppv").inner_text()
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(number).to_have_value("0.95")
    expect(slider).to_have_attribute("aria-valuetext", "prevalence 0.95 %")
    assert figure(page, "ppv").inner_text() != before
    page.keyboard.press("Home")
    expect(number).to_have_value("0.01")
    page.keyboard.press("End")
    expect(number).to_have_value("100")
    number.fill("10")
    expect(slider).to_have_value("-1")


def test_an_older_run_says_what_it_lacks(run, studio, window):
    (run / "validation.csv").unlink()
    page = window(studio, "/threshold")
    expect(page.get_by_text("train it again")).to_be_visible()


def test_it_is_accessible_and_narrow(page):
    at(page)
    check_accessible(page)
    check_reflows(page)


@pytest.fixture
def reading(run, photos):
    with opened(run, read_only=True) as studio:
        yield studio


def test_a_studio_that_only_reads_offers_no_button(reading, window):
    page = window(reading, "/threshold")
    expect(page.get_by_text("This studio only reads.")).to_be_visible()
    expect(page.get_by_role("button", name="Use this threshold")).to_have_count(0)
