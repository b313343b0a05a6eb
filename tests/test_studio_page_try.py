import base64
import csv

import numpy as np
import pytest

from browser import (
    ARGUMENTS,
    CHROMIUM,
    Window,
    check_accessible,
    check_reflows,
    expect,
    opened,
    shoot,
    tab_to,
)
from pictures import class_picture, encode

pytestmark = pytest.mark.browser

HAND_OVER = """([kind, name, text]) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type: "image/png" }));
  const event = kind === "drop"
    ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
  document.querySelector("main").dispatchEvent(event);
}"""


@pytest.fixture
def studio(trained, photos, tmp_path):
    with opened(photos, run=[trained.folder], examples=tmp_path / "examples") as studio:
        yield studio


@pytest.fixture
def lesion():
    return encode(class_picture(np.random.default_rng(8), 1, (300, 200)), "PNG")


def hand_over(page, kind, name, content):
    page.evaluate(HAND_OVER, [kind, name, base64.b64encode(content).decode()])


def test_an_image_is_dropped_answered_and_sent_back_as_wrong(studio, window, lesion, trained):
    page = window(studio, "/try")
    expect(page.get_by_text("Drop images here")).to_be_visible()
    hand_over(page, "drop", "lesion.png", lesion)
    answer = page.get_by_role("region", name="lesion.png")
    expected = trained.model.answer(lesion)
    expect(answer.locator(".said")).to_have_text(f"{expected.label} {100 * expected.probability:.1f} %")
    threshold = trained.model.card.threshold.value
    expect(answer.get_by_text(f"called malignant from {100 * threshold:.1f} %")).to_be_visible()
    assert not studio.desk.examples.exists()
    wrong = next(name for name in trained.model.class_names if name != expected.label)
    answer.get_by_role("button", name=wrong).press("Enter")
    expect(answer.get_by_role("status")).to_contain_text(f"Kept as {wrong}: {studio.desk.examples}")
    expect(answer.get_by_role("status")).to_contain_text("train again")
    shoot(page, "try")
    (row,) = csv.DictReader((studio.desk.examples / "examples.csv").open(newline=""))
    assert (studio.desk.examples / row["path"]).read_bytes() == lesion
    assert (row["label"], row["answer"], row["who"]) == (wrong, expected.label, "ada")


def test_an_image_is_tried_and_corrected_without_a_mouse(studio, window, lesion, trained, tmp_path):
    (tmp_path / "mine.png").write_bytes(lesion)
    page = window(studio, "/try")
    page.on("filechooser", lambda chooser: chooser.set_files(tmp_path / "mine.png"))
    tab_to(page, page.get_by_role("button", name="Choose files"))
    page.keyboard.press("Enter")
    answer = page.get_by_role("region", name="mine.png")
    wrong = next(name for name in trained.model.class_names if name != trained.model.answer(lesion).label)
    tab_to(page, answer.get_by_role("button", name=wrong))
    page.keyboard.press("Enter")
    expect(answer.get_by_role("status")).to_contain_text(f"Kept as {wrong}")
    assert len(list((studio.desk.examples / wrong).iterdir())) == 1


def test_images_are_pasted_or_chosen_several_at_once(studio, window, lesion, tmp_path):
    (tmp_path / "a.png").write_bytes(lesion)
    (tmp_path / "notes.txt").write_text("no image")
    page = window(studio, "/try")
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()
    hand_over(page, "paste", "pasted.png", lesion)
    expect(page.get_by_role("region", name="pasted.png").locator(".said")).to_be_visible()
    page.locator("#tried").set_input_files([tmp_path / "a.png", tmp_path / "notes.txt"])
    expect(page.get_by_role("region", name="a.png").locator(".said")).to_be_visible()
    expect(page.get_by_role("region", name="notes.txt")).to_contain_text("No answer: not an image")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".tried")).to_have_count(0)


def test_the_line_stands_where_the_threshold_is(studio, window, lesion, trained):
    page = window(studio, "/try")
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()
    hand_over(page, "drop", "lesion.png", lesion)
    limit = page.locator(".limit")
    expect(limit).to_be_visible()
    share = limit.evaluate(
        "(line) => { const [a, b] = [line, line.parentElement].map((n) => n.getBoundingClientRect());"
        "return (a.x + a.width / 2 - b.x) / b.width; }"
    )
    assert share == pytest.approx(trained.model.card.threshold.value, abs=0.02)


def test_a_photograph_is_tried(chromium, studio, trained):
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    browser = chromium.browser_type.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *flags])
    opener = Window(browser)
    try:
        page = opener(studio, "/try", permissions=["camera"])
        page.get_by_role("button", name="Photograph").click()
        video = page.locator("video")
        expect(video).to_be_visible()
        page.wait_for_timeout(1000)  # until the camera has given a picture
        page.get_by_role("button", name="Take the picture").click()
        answer = page.locator(".tried")
        expect(answer.locator(".said")).to_be_visible()
        expect(answer.locator("h2")).to_contain_text("photograph")
        assert not studio.desk.examples.exists()
        opener.close()
    finally:
        browser.close()


def test_without_a_model_the_view_says_where_to_get_one(photos, open_studio, window, tmp_path):
    window.expected.append("status of 400")
    page = window(open_studio(photos, runs=tmp_path / "none"), "/try")
    page.get_by_role("button", name="Train a model").click()
    expect(page.get_by_role("heading", name="Training", exact=True)).to_be_visible()


def test_the_view_is_accessible_and_fits_a_narrow_window(studio, window, lesion):
    page = window(studio, "/try")
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()
    hand_over(page, "drop", "a lesion with a very long name that goes on and on and on.png", lesion)
    expect(page.locator(".said")).to_be_visible()
    check_accessible(page)
    check_reflows(page)
