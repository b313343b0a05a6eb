import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from pictures import encode, solid
from tellapart.evaluation.estimate import Estimate
from tellapart.evaluation.evaluation import Evaluation
from tellapart.evaluation.facts import RunFacts
from tellapart.evaluation.measures import write_figure, write_interval
from tellapart.evaluation.report import SECTIONS, render
from tellapart.evaluation.thresholds import Threshold
from tellapart.records import Predictions, Skipped

THRESHOLD = Threshold(0.31, "malignant", "validation", "sensitivity of at least 0.9")


def two_classes(n: int = 120) -> Evaluation:
    rng = np.random.default_rng(1)
    y_true = (np.arange(n) % 3 == 0).astype(np.int64)
    p = 1 / (1 + np.exp(-rng.normal(2.4 * y_true - 1.4, 1.2)))
    ids = tuple(f"images/{i:03d}.jpg" for i in range(n))
    predictions = Predictions(ids, y_true, np.c_[1 - p, p], ("benign", "malignant"))
    return Evaluation(predictions, THRESHOLD, n_bootstrap=20)


def many_classes(names: tuple[str, ...] = ("akiec", "bcc", "mel", "nv"), n: int = 200) -> Evaluation:
    rng = np.random.default_rng(2)
    y_true = rng.integers(0, len(names), n)
    y_prob = np.exp(rng.normal(0, 1, (n, len(names))) + 2 * np.eye(len(names))[y_true])
    y_prob /= y_prob.sum(axis=1, keepdims=True)
    ids = tuple(f"{names[c]}/{i:03d}.jpg" for i, c in enumerate(y_true))
    return Evaluation(Predictions(ids, y_true, y_prob, names), n_bootstrap=20)


def full_facts() -> RunFacts:
    half = Estimate(0.667, (0.6, 0.7), "Clopper-Pearson")
    return RunFacts(
        title="Lesions",
        intended_use="Research only.",
        labelled_by="Histology.",
        command="tellapart train photos --out run",
        data={"source": "a clinic"},
        flow=[("files found", 130), ("unreadable", -10), ("used", 120), ("training", 80), ("test", 40)],
        skipped=[Skipped("benign/broken.jpg", "empty file")],
        partitions=[{"split": "train", "images": 80, "groups": 40, "benign": 50, "malignant": 30}],
        disjoint_by="lesion_id",
        seed=7,
        leakage=["2 identical files have different labels"],
        demographics={"sex": {"train": {"female": 30, "male": 10}, "test": {"female": 1}}},
        history=[
            {
                "epoch": e,
                "learning_rate": 0.001,
                "train_loss": 1 / e,
                "val_loss": 1.1 / e,
                "val_accuracy": 0.5,
            }
            for e in (1, 2, 3)
        ],
        settings={"backbone": "resnet18"},
        versions={"numpy": "2.4"},
        hashes={"data": "sha256:ab"},
        baselines={"majority class": {"accuracy": half, "roc_auc_macro": 0.5}},
        calibration_before={"ece": 0.123, "temperature": 1.5, "chosen_on": "validation data"},
        folds={"accuracy": {"mean": 0.8, "std": None, "values": [0.8, None]}},
        weights_licence="BSD-3-Clause",
        model_hash="sha256:cd",
        external_test=True,
    )


class Page(HTMLParser):
    """Tags in order, whether every one was closed, the text of sections, and what could be loaded."""

    VOID = frozenset({"meta", "link", "img", "input", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.sections[dict(attrs)["id"]] = ""
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if "section" in self.open and self.sections:
            last = list(self.sections)[-1]
            self.sections[last] += data


def embedded(html: str) -> dict:
    return json.loads(re.search(r'id="report-data">(.*?)</script>', html, re.S)[1])


# ---- the document ------------------------------------------------------------------------------------


@pytest.mark.parametrize("evaluation", [two_classes(), many_classes()], ids=["two classes", "four classes"])
@pytest.mark.parametrize("facts", [None, full_facts()], ids=["no facts", "all facts"])
def test_every_numbered_output_has_its_section(evaluation, facts):
    page = Page(render(evaluation, facts, None))
    assert page.open == []
    assert [key for key in page.sections if key != "summary"] == [f"s{number}" for number in range(1, 21)]
    for number, title in SECTIONS.items():
        assert page.sections[f"s{number}"].split()[: 1 + len(title.split())] == [str(number), *title.split()]


def test_missing_facts_are_named_with_what_to_supply():
    sections = Page(render(two_classes(), None, None)).sections
    for number in (1, 2, 3, 4, 5, 8, 9, 10, 12, 13, 14, 15, 17, 19, 20):
        assert "Missing:" in sections[f"s{number}"], SECTIONS[number]
    assert "--group-by" in sections["s3"]
    assert "5 of 20" in sections["summary"]


def test_given_facts_leave_only_what_the_report_cannot_tell_yet():
    sections = Page(render(two_classes(), full_facts(), None)).sections
    missing = {number for number in SECTIONS if "Missing:" in sections[f"s{number}"]}
    assert missing == {10, 12, 15, 17}
    assert "benign/broken.jpg" in sections["s2"]
    assert "empty file" in sections["s2"]
    assert "lesion_id" in sections["s3"]
    assert "2 identical files have different labels" in sections["s3"]
    assert "BSD-3-Clause" in sections["s19"]
    assert "0.123" in sections["s9"]


def test_default_threshold_is_reported_as_not_chosen():
    evaluation = Evaluation(two_classes().predictions, n_bootstrap=0)
    assert "Missing: a threshold chosen before the test" in Page(render(evaluation)).sections["s7"]


def test_nothing_is_loaded_from_anywhere():
    html = render(two_classes(), full_facts(), lambda sample_id: encode(solid("red"), "JPEG"))
    page = Page(html)
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv"))
    assert (
        policy == "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    )
    assert not re.search(r"url\(|@import|\bimport\s*[{(\"']|fetch\(|XMLHttpRequest", html.split("<main>")[0])
    assert not re.search(r"^import |fetch\(|XMLHttpRequest|sendBeacon", html.split('type="module">')[1], re.M)


def test_hostile_names_and_paths_stay_text():
    hostile = "</script><script>alert(1)</script>"
    evaluation = many_classes(("<img src=x onerror=alert(2)>", hostile, "a & b", "__proto__"))
    facts = RunFacts(title=hostile, skipped=[Skipped(hostile, "<b>why</b>")], settings={"x": hostile})
    html = render(evaluation, facts, None)
    page = Page(html)
    assert [attributes.get("type") for tag, attributes in page.tags if tag == "script"] == [
        "application/json",
        "module",
    ]
    assert not any(tag == "img" for tag, _ in page.tags)
    assert [c["name"] for c in embedded(html)["explorer"]["classes"]] == list(
        evaluation.predictions.class_names
    )


def test_pictures_are_embedded_for_the_images_that_have_one():
    jpeg = encode(solid("red"), "JPEG")
    evaluation = two_classes()
    first = evaluation.predictions.sample_ids[evaluation.most_confident_errors(1)[0]]
    html = render(evaluation, None, lambda sample_id: jpeg if sample_id == first else None)
    assert html.count('src="data:image/jpeg;base64,/9j/') == 1
    assert "no picture" in html


def test_same_input_gives_the_same_file():
    assert render(two_classes(), full_facts()) == render(two_classes(), full_facts())


# ---- figures -----------------------------------------------------------------------------------------


def test_figures_are_written_as_readers_expect():
    sensitivity = Estimate(0.8523, (0.79, 0.9), "Clopper-Pearson")
    assert write_figure(sensitivity, "sensitivity") == "85.2 %"
    assert write_interval(sensitivity, "sensitivity") == "79.0 to 90.0 %"
    assert write_figure(0.9124, "roc_auc_macro") == "0.912"
    assert write_figure(-0.25, "mcc") == "\N{MINUS SIGN}0.250"
    assert write_figure(1234) == "1,234"
    assert write_figure(float("nan"), "ppv") == "not defined"
    assert write_interval(0.5, "ppv") == ""


def test_precision_statement_gives_n_and_half_the_interval():
    evaluation = two_classes()
    low, high = evaluation.headline["sensitivity"].ci95
    text = " ".join(Page(render(evaluation)).sections["s18"].split())
    assert "With n = 40, the 95 % interval of sensitivity (malignant)" in text
    assert f"± {50 * (high - low):.1f} points" in text


def test_embedded_counts_are_those_at_the_threshold():
    evaluation = two_classes()
    y_true, score = evaluation.predictions.y_true == 1, evaluation.predictions.y_prob[:, 1]
    points = embedded(render(evaluation))["explorer"]["classes"][0]
    at = points["in_use"]
    assert points["thresholds"][at] == THRESHOLD.value
    assert points["tp"][at] == np.sum(y_true & (score >= 0.31))
    assert points["fp"][at] == np.sum(~y_true & (score >= 0.31))
    assert points["thresholds"][-1] is None
    assert points["tp"][-1] == 0
    assert points["tp"] == sorted(points["tp"], reverse=True)


def test_class_without_test_images_has_no_curve_and_breaks_nothing():
    names = ("a", "b", "c")
    y_prob = np.random.default_rng(0).dirichlet([1, 1, 1], 30)
    predictions = Predictions(tuple(map(str, range(30))), np.arange(30) % 2, y_prob, names)
    html = render(Evaluation(predictions, n_bootstrap=5))
    assert [c["name"] for c in embedded(html)["explorer"]["classes"]] == ["a", "b"]
    assert "not defined" in html


def test_test_set_of_one_class_is_reported_without_curves():
    predictions = Predictions(("1", "2"), np.ones(2, dtype=np.int64), np.full((2, 2), 0.5), ("a", "b"))
    assert "Missing: curves" in Page(render(Evaluation(predictions, n_bootstrap=0))).sections["s6"]


def test_flow_ends_in_branches_where_they_add_up():
    html = render(two_classes(), full_facts())
    branches = re.search(r'<ul class="branches".*?</ul>', html, re.S)[0]
    assert re.findall(r"<span>(.*?)</span>", branches) == ["training", "test"]
    assert 'class="loss"><span>unreadable</span> <b>−10</b>' in html
    unequal = render(two_classes(), RunFacts(flow=[("files found", 9), ("used", 8), ("test", 3)]))
    assert '<ul class="branches"' not in unequal


# ---- in a browser ------------------------------------------------------------------------------------


@pytest.fixture
def opened(chromium, tmp_path):
    """Open a report from a file; any console message, page error or request fails the test at its end."""
    noise: list[str] = []
    pages = []

    def open_report(html: str, **options):
        (tmp_path / "report.html").write_text(html, encoding="utf-8")
        page = chromium.new_page(**options)
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("request", lambda request: noise.append(request.url) if is_outside(request.url) else None)
        page.goto((tmp_path / "report.html").as_uri())
        pages.append(page)
        return page

    yield open_report
    for page in pages:
        page.close()
    assert noise == []


def is_outside(url: str) -> bool:
    return not url.startswith(("file:", "data:"))


def readout(page) -> SimpleNamespace:
    cells = page.locator("[data-figure]")
    figures = {
        cells.nth(i).get_attribute("data-figure"): cells.nth(i).inner_text() for i in range(cells.count())
    }
    return SimpleNamespace(**figures)


def counts(evaluation: Evaluation, threshold: float) -> tuple[int, int, int, int]:
    positive, called = evaluation.predictions.y_true == 1, evaluation.predictions.y_prob[:, 1] >= threshold
    cells = (positive & called, ~positive & called, positive & ~called, ~positive & ~called)
    return tuple(int(cell.sum()) for cell in cells)


@pytest.mark.browser
def test_arrow_keys_move_the_threshold_and_the_readout_agrees_with_numpy(opened):
    evaluation = two_classes()
    page = opened(render(evaluation, full_facts()))
    slider = page.get_by_role("slider", name="Threshold")
    assert readout(page).sensitivity == write_figure(evaluation.headline["sensitivity"], "sensitivity")
    slider.focus()
    scores = np.sort(evaluation.predictions.y_prob[:, 1])
    for presses in (1, 6, 20):
        for _ in range(presses):
            page.keyboard.press("ArrowRight")
        passed = {1: 1, 6: 7, 20: 27}[presses]
        tp, fp, fn, tn = counts(evaluation, scores[scores >= 0.31][passed - 1])
        shown = readout(page)
        assert (int(shown.tp), int(shown.fp), int(shown.fn), int(shown.tn)) == (tp, fp, fn, tn)
        assert shown.sensitivity == f"{100 * tp / (tp + fn):.1f} %"
        assert shown.specificity == f"{100 * tn / (tn + fp):.1f} %"
        assert shown.ppv == f"{100 * tp / (tp + fp):.1f} %"
        assert shown.npv == f"{100 * tn / (tn + fn):.1f} %"
        assert f"sensitivity {shown.sensitivity}" in slider.get_attribute("aria-valuetext")
    page.get_by_role("button", name="Back to the threshold in use").click()
    assert int(readout(page).tp) == counts(evaluation, 0.31)[0]


@pytest.mark.browser
def test_prevalence_reweights_ppv_and_npv_by_bayes_rule(opened):
    evaluation = two_classes()
    page = opened(render(evaluation))
    page.get_by_role("spinbutton", name="Prevalence").fill("2")
    tp, fp, fn, tn = counts(evaluation, 0.31)
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
    ppv = 0.02 * sensitivity / (0.02 * sensitivity + 0.98 * (1 - specificity))
    npv = 0.98 * specificity / (0.98 * specificity + 0.02 * (1 - sensitivity))
    assert (readout(page).ppv, readout(page).npv) == (f"{100 * ppv:.1f} %", f"{100 * npv:.1f} %")
    assert readout(page).sensitivity == f"{100 * sensitivity:.1f} %"


@pytest.mark.browser
def test_click_and_drag_on_the_curve_move_the_threshold(opened):
    page = opened(render(two_classes()))
    plot = page.locator(".ta-movable svg").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.click(box["x"] + 0.97 * box["width"], box["y"] + 0.09 * box["height"])
    assert readout(page).sensitivity == "100.0 %"
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.1 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.13 * box["width"], box["y"] + 0.85 * box["height"], steps=4)
    page.mouse.up()
    assert readout(page).specificity == "100.0 %"


@pytest.mark.browser
def test_class_selector_shows_one_class_against_the_rest(opened):
    evaluation = many_classes()
    page = opened(render(evaluation))
    page.get_by_label("Class against the rest").select_option("nv")
    positive, score = evaluation.predictions.y_true == 3, evaluation.predictions.y_prob[:, 3]
    assert int(readout(page).tp) == np.sum(positive & (score >= 0.5))
    assert int(readout(page).fp) == np.sum(~positive & (score >= 0.5))
    assert float(page.get_by_role("spinbutton", name="Prevalence").input_value()) == pytest.approx(
        100 * positive.mean(), abs=0.05
    )


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("make", [two_classes, many_classes])
def test_page_never_scrolls_sideways(opened, make, width):
    page = opened(render(make(), full_facts()), viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("[data-chart] > .quiet").count() == 0


@pytest.mark.browser
def test_hostile_names_run_nothing(opened):
    hostile = "</script><script>document.title='owned'</script>"
    page = opened(render(many_classes((hostile, "<img src=x onerror=document.title='owned'>", "c"))))
    assert page.title() == "Evaluation report"
    page.get_by_label("Class against the rest").select_option(hostile)
