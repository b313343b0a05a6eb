"""Widgets for notebooks: what answers them, and a page that has one."""

import builtins
import io
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from PIL import Image

from browser import check_accessible
from desks import clinic, number
from doubtful import doubtful_run
from kernels import WIDGETS, Kernel
from pictures import write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.data.journal import Journal
from tellapart.errors import ConfigError, MissingExtra
from tellapart.notebook import esm, host
from tellapart.studio import operations
from tellapart.studio.opening import Choices, open_desk
from tellapart.studio.operation import Operation


@pytest.fixture
def kernel(tmp_path):
    kernel = Kernel(clinic(tmp_path / "clinic"))
    yield kernel
    kernel.host.close()


def label_of(kernel, sample_id):
    catalog = kernel.host.desk.catalog
    catalog.refresh()
    return catalog.label(number(kernel.host.desk, sample_id))


def relabel(kernel, sample_id, seen, new, **more):
    i = number(kernel.host.desk, sample_id)
    return {"items": [i], "field": "label", "seen": [seen], "new": new, "source": "key", **more}


# ---- the kernel's side


def test_an_operation_is_answered_as_over_http(kernel):
    told, buffers = kernel.ask("overview")
    assert told.keys() == {"id", "status", "answer"}
    assert (told["id"], told["status"], buffers) == ("1", 200, [])
    assert '"class_names":["benign","malignant"]' in told["answer"]


def test_a_label_is_in_the_journal_before_the_answer(kernel):
    wish = relabel(kernel, "train/benign/000.jpg", "benign", "malignant")
    told, _ = kernel.ask("write", **wish)
    assert told["status"] == 200
    (event,) = Journal(kernel.host.desk.journal.path).events()
    assert (event.sample_id, event.new, event.actor) == ("train/benign/000.jpg", "malignant", "anna")


def test_a_conflict_and_a_mistake_say_so(kernel):
    wish = relabel(kernel, "train/benign/000.jpg", "malignant", "nevus")
    told, _ = kernel.ask("write", **wish)
    assert told["status"] == 409
    assert '"found":"benign"' in told["answer"]
    told, _ = kernel.ask("nonsense")
    assert (told["status"], told["answer"]) == (400, '{"error":"there is no operation \'nonsense\'"}')


def test_our_own_mistakes_go_into_the_log(kernel, monkeypatch, caplog):
    monkeypatch.setattr(operations, "operations", lambda: {"probe": Operation(lambda *_: 1 / 0)})
    told, _ = kernel.ask("probe")
    assert told["status"] == 500
    assert "the log of this notebook's kernel shows how" in told["answer"]
    assert "ZeroDivisionError" in caplog.text


def test_small_pictures_come_in_one_message(kernel):
    told, buffers = kernel.ask("thumbs", items=[3, 0, 3], size=320)
    assert told["status"] == 200
    assert len(buffers) == 3
    assert buffers[0] == buffers[2] != buffers[1]
    assert Image.open(io.BytesIO(buffers[0])).format == "JPEG"


@pytest.mark.parametrize("asked", [{"items": [10_000]}, {"items": [0] * 101}, {"items": [0], "size": 5000}])
def test_pictures_that_there_are_not_are_refused(kernel, asked):
    told, buffers = kernel.ask("thumbs", **asked)
    assert (told["status"], buffers) == (400, [])


def test_a_whole_picture(kernel):
    told, (content,) = kernel.ask("picture", i=0)
    assert told["answer"] == '{"type":"image/jpeg"}'
    assert Image.open(io.BytesIO(content)).size == (192, 192)
    assert kernel.ask("picture", i=10_000)[0]["status"] == 400


@pytest.mark.parametrize(("operation", "asked"), [("thumbs", {"items": [0]}), ("picture", {"i": 0})])
def test_a_picture_that_goes_wrong_is_answered_too(kernel, monkeypatch, caplog, operation, asked):
    desk = kernel.host.desk
    monkeypatch.setattr(desk.thumbnails, "get", lambda *_: 1 / 0)
    monkeypatch.setattr(host, "whole_picture", lambda *_: 1 / 0)
    for _ in range(3):
        told, buffers = kernel.ask(operation, **asked)
        assert (told["status"], buffers) == (500, [])
    assert f"{operation} went wrong" in told["answer"]
    assert "ZeroDivisionError" in caplog.text


def test_who_waits_for_changes_of_a_journal_that_cannot_be_read_is_told(kernel):
    desk = kernel.host.desk
    kernel.host.receive({"id": "7", "op": "changes", "args": {"after": 0}})
    assert kernel.is_silent(0.3)
    desk.journal.path.parent.mkdir(exist_ok=True)
    desk.journal.path.write_bytes(b"no journal at all")
    told, _ = kernel.sent.get(timeout=20)
    assert (told["id"], told["status"]) == ("7", 400)
    assert "labels.sqlite" in told["answer"]


def test_a_question_for_changes_waits_until_there_are_some(kernel):
    path = kernel.host.desk.data
    kernel.host.receive({"id": "7", "op": "changes", "args": {"after": 0}})
    assert kernel.is_silent(1.5)
    desk, _ = open_desk(path, Choices(actor="ben"))
    operations.perform(desk, "write", relabel(kernel, "train/benign/001.jpg", "benign", "malignant"))
    told, _ = kernel.sent.get(timeout=20)
    assert told["id"] == "7"
    assert '"id":"train/benign/001.jpg","label":"malignant"' in told["answer"]
    assert kernel.ask("changes", after=0)[0]["status"] == 200


def test_what_is_no_message_of_ours_is_passed_over(kernel):
    for message in (None, 7, "x", {}, {"id": 1, "op": "overview", "args": {}}, {"id": "1", "op": "overview"}):
        kernel.host.receive(message)
    assert kernel.is_silent(0.3)


def test_a_closed_host_answers_nothing(kernel):
    kernel.host.close()
    kernel.host.receive({"id": "1", "op": "overview", "args": {}})
    assert kernel.is_silent(0.3)


# ---- the four names


def test_without_anywidget_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name == "anywidget":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    from tellapart import notebook

    with pytest.raises(MissingExtra, match=re.escape("pip install 'tellapart[notebook]'")):
        notebook.Grid  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        notebook.Nonsense  # noqa: B018


def test_the_package_itself_imports_nothing_heavy():
    script = "import tellapart.notebook, sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"anywidget", "ipywidgets", "numpy", "torch"} & set(done.stdout.split())


def test_a_widget_opens_what_the_studio_opens(tmp_path):
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    from tellapart.notebook import Augmentations, Grid, Results, Threshold

    folder = write_class_folders(tmp_path / "photos", {"cat": 3, "dog": 3})
    grid = Grid(str(folder), user="ada", start="?label=cat", height=400)
    assert (grid.start, grid.height, len(grid.dataset)) == ("label=cat", 400, 6)
    assert [kind.views for kind in (Grid, Results, Threshold, Augmentations)] == WIDGETS
    with pytest.raises(ConfigError, match="there is nothing at"):
        Grid(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="does not say which folder"):
        Grid(Dataset.from_folder(folder))
    grid.close()


def test_a_widget_answers_through_its_comm(tmp_path, monkeypatch):
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    from tellapart.notebook import Grid

    folder = write_class_folders(tmp_path / "photos", {"cat": 3, "dog": 3})
    sent = []
    monkeypatch.setattr(Grid, "send", lambda self, content, buffers=None: sent.append((content, buffers)))
    grid = Grid(SimpleNamespace(folder=folder))
    grid._handle_custom_msg({"id": "1", "op": "overview", "args": {}}, [])
    grid._host._pool.shutdown()
    ((told, buffers),) = sent
    assert (told["id"], told["status"], buffers) == ("1", 200, [])
    grid.close()


# ---- in a browser


@pytest.fixture
def page(chromium, window):
    context = chromium.new_context(viewport={"width": 1000, "height": 900})
    context.set_default_timeout(15_000)
    yield window.tab(context)
    context.close()


def expect(locator):
    from playwright.sync_api import expect as expects

    return expects(locator)


def show(kernel, page, *shown, **state):
    kernel.put_into(page, esm.script(shown), esm.styles(shown), **state)


@pytest.mark.browser
def test_a_grid_relabels_by_keys_and_keeps_them_to_itself(kernel, page):
    show(kernel, page, "grid", start="label=benign")
    cells = page.locator(".cell")
    expect(cells).to_have_count(13)
    expect(page.locator(".cell img[src^=blob]")).to_have_count(13)
    assert kernel.asked.count("thumbs") == 1
    cells.nth(0).click()
    page.keyboard.press("2")
    expect(cells.nth(0)).to_have_attribute("aria-label", re.compile("^malignant, given as benign"))
    first = cells.nth(0).get_attribute("aria-label").rsplit(", ")[-1]
    assert label_of(kernel, first) == "malignant"
    page.keyboard.press("d")
    page.keyboard.press("Control+z")
    expect(cells.nth(0)).to_have_attribute("aria-label", re.compile("^benign"))
    assert label_of(kernel, first) == "benign"
    expect(page.locator(".tellapart .toast")).to_contain_text("Undone")
    assert page.evaluate("window.notebookKeys") == []
    page.get_by_role("button", name="Close this note").click()
    check_accessible(page)


@pytest.mark.browser
def test_dialogs_open_inside_the_widget(kernel, page):
    show(kernel, page, "grid")
    page.locator(".cell").nth(0).click()
    page.keyboard.press("Enter")
    expect(page.locator(".tellapart dialog.zoom .stage img[src^=blob]")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.type("nevus")
    page.keyboard.press("Enter")
    expect(page.locator(".cell[aria-label^=nevus]")).to_have_count(1)
    page.keyboard.press("?")
    expect(page.locator(".tellapart dialog")).to_contain_text("Label as class 1")
    page.keyboard.press("Escape")
    assert page.evaluate("window.notebookKeys") == []


@pytest.mark.browser
def test_a_kernel_that_does_not_answer_is_said_to(kernel, page):
    kernel.silent.add("thumbs")
    show(kernel, page, "grid")
    note = page.get_by_text("The kernel has not answered yet")
    expect(page.locator(".cell").nth(0)).to_be_visible()
    expect(note).to_be_hidden()
    expect(note).to_be_visible(timeout=10_000)
    page.locator(".cell").nth(0).click()
    page.keyboard.press("f")
    expect(note).to_be_hidden()


@pytest.mark.browser
def test_what_is_refused_is_shown_in_the_widget(kernel, page):
    show(kernel, page, "grid")
    page.locator(".cell").nth(0).click()
    page.keyboard.press("Control+z")
    expect(page.locator(".tellapart .toast.error")).to_contain_text("undo")


@pytest.mark.browser
def test_nothing_is_left_when_it_is_taken_down(kernel, page):
    show(kernel, page, "grid")
    expect(page.locator(".cell").nth(0)).to_be_visible()
    page.evaluate("window.takeDown()")
    assert page.evaluate("window.listeners()") == 0


@pytest.mark.browser
def test_themes_of_jupyter_come_before_the_systems(kernel, page):
    show(kernel, page, "grid")
    background = "getComputedStyle(document.querySelector('.tellapart')).backgroundColor"
    dark, light = "rgb(20, 24, 28)", "rgb(253, 253, 252)"
    for scheme, theme, colour in (
        ("light", None, light),
        ("dark", None, dark),
        ("dark", "true", light),
        ("light", "false", dark),
    ):
        page.emulate_media(color_scheme=scheme)
        page.evaluate("theme => { theme && (document.body.dataset.jpThemeLight = theme) }", theme)
        assert page.evaluate(background) == colour
    assert page.evaluate("getComputedStyle(document.body).marginTop") == "8px"


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    return doubtful_run(trained.folder, tmp_path_factory.mktemp("runs") / "lesions")


@pytest.mark.browser
def test_a_number_of_the_matrix_opens_its_images_and_back(run, page):
    desk, _ = open_desk(run, Choices(actor="ada", read_only=True))
    kernel = Kernel(desk)
    show(kernel, page, "results", "grid")
    cell = page.locator(".confusion button").first
    n = int(cell.locator("b").inner_text())
    cell.click()
    expect(page.locator(".cell")).to_have_count(n)
    page.get_by_role("button", name="Back to: Results").click()
    expect(page.get_by_role("heading", name="Confusion matrix")).to_be_visible()
    check_accessible(page)
    kernel.host.close()


@pytest.mark.browser
def test_a_threshold_is_moved_by_keys(run, page):
    desk, _ = open_desk(run, Choices(actor="ada", read_only=True))
    kernel = Kernel(desk)
    show(kernel, page, "threshold", "grid")
    slider = page.get_by_role("slider", name="Threshold")
    slider.focus()
    before = slider.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowLeft")
    expect(slider).not_to_have_attribute("aria-valuetext", before)
    assert page.evaluate("window.notebookKeys") == []
    check_accessible(page)
    kernel.host.close()


@pytest.mark.browser
def test_augmentations_are_shown(run, page):
    pytest.importorskip("torch", reason="torch is not installed")
    desk, _ = open_desk(run, Choices(actor="ada"))
    kernel = Kernel(desk)
    show(kernel, page, "augment", start="policy=strong&items=0,1")
    expect(page.locator(".variants img")).to_have_count(2 * 9, timeout=60_000)
    expect(page.get_by_label("Policy")).to_have_value("strong")
    kernel.host.close()
