"""Results in a browser: from a number to its images, by click and by key; two runs; corrections; saliency."""

import csv
import re
import shutil

import numpy as np
import pytest

from browser import check_accessible, check_reflows, expect, served, shoot
from desks import number
from stored_runs import predictions_of, write_run
from tellapart.data.corrections import as_given
from tellapart.data.dermoscopy import draw_lesion
from tellapart.data.journal import Journal
from tellapart.data.label_events import Change
from tellapart.studio.desk import Desk

pytestmark = pytest.mark.browser

CLASSES = ("benign", "malignant")


@pytest.fixture(scope="module")
def lesions(tmp_path_factory):
    """A manifest of 40 lesions with age and sex."""
    root, rng = tmp_path_factory.mktemp("lesions"), np.random.default_rng(4)
    rows = []
    for k in range(40):
        name = CLASSES[k % 2]
        (root / name).mkdir(exist_ok=True)
        draw_lesion(rng, 0.8 * (k % 2) + 0.1, 160).save(root / name / f"{k:02d}.jpg")
        rows.append([f"{name}/{k:02d}.jpg", name, str(25 + k), ("female", "male")[k // 2 % 2]])
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "age", "sex"], *rows])
    return root / "manifest.csv"


@pytest.fixture
def studio(lesions, trained, tmp_path):
    """Two runs on the same images; the second is better. The first has a model."""
    given, rng = as_given(lesions), np.random.default_rng(1)
    for name, skill in (("first", 0.9), ("second", 2.0)):
        answers = [
            (sample.id, sample.label, 1 / (1 + np.exp(-rng.normal(skill * (2 * is_malignant - 1), 1.5))))
            for sample, is_malignant in zip(given.samples, given.targets.tolist(), strict=True)
        ]
        write_run(tmp_path / "runs" / name, predictions_of(answers), root=lesions.parent)
    shutil.copytree(trained.folder / "model", tmp_path / "runs" / "first" / "model")
    runs = tmp_path / "runs"
    with served(
        Desk(lesions, given, Journal(tmp_path / "labels.sqlite"), "ada", runs, runs / "first")
    ) as running:
        yield running


def matrix(studio, run):
    return studio.desk.shelf.run(run).metrics["confusion_matrix"]


def cell(page, label, predicted):
    return page.locator(".confusion").get_by_role("button", name=f"{label}, called {predicted}")


def test_a_number_of_the_matrix_opens_its_images(studio, window):
    page = window(studio, "/results")
    ((_, missed), _) = matrix(studio, "first")
    cell(page, "benign", "malignant").click()
    expect(page).to_have_url(f"{studio.url}/grid?label=benign&predicted=malignant&run=first")
    cells = page.locator("[role=option]")
    expect(cells).to_have_count(missed)
    page.go_back()
    expect(page.get_by_role("heading", name="Confusion matrix")).to_be_visible()


def test_the_matrix_is_walked_and_opened_by_keys(studio, window):
    page = window(studio, "/results?run=second")
    cell(page, "benign", "benign").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    focused = page.locator(":focus")
    ((_, _), (_, right)) = matrix(studio, "second")
    expect(focused).to_have_accessible_name(
        f"malignant, called malignant: {right} of 20 images, {right * 5} %; show them"
    )
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{studio.url}/grid?label=malignant&predicted=malignant&run=second")
    expect(page.locator("[role=option]")).to_have_count(right)


def test_figures_are_the_stored_ones_with_their_intervals(studio, window):
    page = window(studio, "/results")
    stored = studio.desk.shelf.run("first").metrics["sensitivity"]
    card = page.locator(".cards li").filter(has_text="Sensitivity")
    expect(card.locator(".value")).to_have_text(f"{stored['value']:.1%}".replace("%", " %"))
    low, high = (f"{100 * end:.1f}" for end in stored["ci95"])
    expect(card).to_contain_text(f"{low} to {high} %")
    expect(page.get_by_text("40 images, held out at random before training")).to_be_visible()


def test_kinds_of_images_are_chosen_and_the_choice_is_in_the_address(studio, window):
    page = window(studio, "/results?run=first")
    cards = page.locator(".strip li")
    wrong = matrix(studio, "first")[0][1] + matrix(studio, "first")[1][0]
    expect(cards).to_have_count(wrong)
    assert page.locator(".strip .scores > span:nth-child(3)").all_inner_texts() == sorted(
        page.locator(".strip .scores > span:nth-child(3)").all_inner_texts(), reverse=True
    )
    page.get_by_role("button", name="Right").click()
    expect(page).to_have_url(f"{studio.url}/results?run=first&show=right")
    expect(page.get_by_role("button", name="Right")).to_be_focused()
    expect(cards).to_have_count(24)
    page.get_by_role("button", name="Show more of").click()
    expect(cards).to_have_count(40 - wrong)
    expect(page.locator(".strip li:nth-child(25) button")).to_be_focused()


def test_two_runs_side_by_side_and_the_images_that_one_mended(studio, window):
    page = window(studio, "/results?run=second")
    page.get_by_label("Compare with").select_option("first")
    expect(page.get_by_role("heading", name="second compared with first")).to_be_visible()
    expect(page.get_by_text("McNemar’s exact test")).to_be_visible()
    fixed = page.get_by_role("button", name="Fixed")
    n = int(fixed.locator("b").inner_text())
    fixed.click()
    strip = page.locator("section").filter(has_text="compared with").locator(".strip li")
    expect(strip).to_have_count(n)
    expect(strip.first).to_contain_text("✓")
    expect(strip.first).to_contain_text("before:")
    expect(page).to_have_url(f"{studio.url}/results?run=second&with=first&outcome=fixed")
    expect(fixed).to_be_focused()
    shoot(page, "results", full=True)


def test_the_grid_shows_the_predictions_of_the_run_that_is_chosen(studio, open_studio, window):
    """After training anew somebody may want to see what the earlier run had said."""
    runs = [studio.desk.runs / name for name in ("first", "second")]
    page = window(open_studio(studio.desk.data, run=runs, journal=studio.desk.journal.path), "/grid")
    which = page.get_by_role("combobox", name="Predictions of")
    which.focus()
    for run in ("second", "first"):
        which.select_option(run)
        wrong = matrix(studio, run)[0][1] + matrix(studio, run)[1][0]
        expect(page.get_by_label(re.compile("^wrong"))).to_have_accessible_name(re.compile(f"{wrong}$"))
    expect(which).to_be_focused()


def test_corrected_labels_are_told_and_the_figures_can_follow(studio, window):
    desk = studio.desk
    page = window(studio, "/results?run=first&show=confident")
    first = page.locator(".strip .picture").first
    sample_id = first.get_attribute("aria-label").partition(":")[0]
    i = number(desk, sample_id)
    given = desk.catalog.label(i)
    other = CLASSES[1 - CLASSES.index(given)]
    desk.journal.write([Change(sample_id, "label", given, other, given, desk.catalog.sha256(i))], actor="ben")
    # The page learns of it by itself.
    expect(page.get_by_text("1 of these labels was corrected since this run")).to_be_visible(timeout=10_000)
    before = sum(matrix(studio, "first")[k][k] for k in range(2))
    page.get_by_label("Figures under corrected labels").check()
    expect(page.get_by_text("These figures are worked out anew")).to_be_visible()
    right = page.locator(".confusion td.right b").all_inner_texts()
    assert sum(map(int, right)) == before + 1


def test_one_image_is_looked_at_and_its_answer_explained(studio, window):
    page = window(studio, "/results?run=first")
    page.locator(".strip .picture").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Where does this answer come from?").click()
    expect(page.get_by_text("no proof of what the model looks at")).to_be_visible(timeout=60_000)
    page.get_by_role("combobox", name="by", exact=True).select_option("occlusion")
    expect(page.get_by_text("covers it")).to_be_visible(timeout=60_000)
    shoot(page, "saliency")
    check_accessible(page)
    page.keyboard.press("Escape")
    expect(page.locator(".strip .picture").first).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Look closer and relabel").click()
    expect(page.locator("dialog.zoom")).to_be_visible()


def test_subgroups_have_intervals_and_small_ones_a_warning(studio, window):
    page = window(studio, "/results")
    table = page.get_by_role("region", name="Figures by subgroup")
    women = table.get_by_role("row").filter(has_text="female")
    expect(women).to_contain_text("few")
    expect(women).to_contain_text("n 20")
    expect(table.get_by_role("row").filter(has_text=re.compile("^age"))).to_have_count(3)


def test_it_is_accessible_and_narrow(studio, window):
    page = window(studio, "/results?run=second&with=first&outcome=fixed")
    expect(page.locator(".strip").nth(1)).to_be_visible()
    check_accessible(page)
    check_reflows(page)


def test_a_damaged_run_is_told_and_another_can_be_chosen(studio, window):
    (studio.desk.runs / "second" / "evaluation" / "predictions.csv").write_text("nonsense")
    page = window(studio, "/results?run=second")
    window.expected.append("status of 400")
    expect(page.get_by_role("alert")).to_contain_text("predictions.csv has the columns nonsense")
    page.get_by_role("button", name="Show the first run").click()
    expect(page.get_by_role("heading", name="Confusion matrix")).to_be_visible()


def test_without_a_run_it_says_what_to_do(lesions, tmp_path, window):
    desk = Desk(lesions, as_given(lesions), Journal(tmp_path / "none.sqlite"), "ada", tmp_path / "runs")
    with served(desk) as studio:
        page = window(studio, "/results")
        expect(page.get_by_role("heading", name="No results yet")).to_be_visible()
        page.close()  # before its studio, for which it would ask
