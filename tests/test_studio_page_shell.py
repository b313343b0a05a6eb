"""The page around the views, in a browser: its links, keys, notes, and what it does when something fails."""

import json
import re
from dataclasses import asdict

import pytest

from browser import Window, check_accessible, check_reflows, expect, opened, shoot, started
from desks import suspect
from pictures import write_class_folders

pytestmark = pytest.mark.browser

CURRENT = "nav a[aria-current=page]"
CELL = "[role=listbox] [role=option]"
WRITE = """
async ([ids, value]) => {
  const { createContext } = await import("/static/core/context.js");
  const { httpTransport } = await import("/static/core/transport.js");
  const transport = httpTransport();
  const overview = await transport.ask("overview");
  const { items } = await transport.ask("items", { start: 0, count: 50 });
  const context = createContext({ transport, overview, keys: {} });
  window.told = [];
  context.on("changed", (event) => window.told.push(event));
  window.context = context;
  window.chosen = ids.map((id) => items.find((item) => item.id === id));
  return context.labels.write(window.chosen, "label", value);
}
"""
"""Label images by their ids, as a view does; resolves to the answer."""


@pytest.fixture
def folder(tmp_path):
    return write_class_folders(tmp_path / "photos", {"cat": 6, "dog": 6})


@pytest.fixture
def studio(folder):
    with opened(folder) as studio:
        yield studio


def label_of(studio, sample_id: str) -> str:
    catalog = studio.desk.catalog
    catalog.refresh()
    return catalog.label(catalog.index(sample_id))


def test_the_address_names_the_view_and_loses_the_token(studio, window):
    page = window(studio, "/training?run=a")
    expect(page.locator(CURRENT)).to_have_text("Training")
    assert page.url == f"{studio.url}/training?run=a"
    expect(page).to_have_title(re.compile("Training · photos · tellapart studio"))
    page.goto(f"{studio.url}/")
    expect(page.locator(CURRENT)).to_have_text(re.compile("Grid"))


def test_from_view_to_view_by_click_by_keys_and_back(studio, window):
    page = window(studio)
    page.get_by_role("link", name="Training").click()
    expect(page.locator(CURRENT)).to_have_text("Training")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("i")
    expect(page).to_have_url(f"{studio.url}/history")
    page.go_back()
    expect(page.locator(CURRENT)).to_have_text("Training")
    page.go_back()
    expect(page.locator(CURRENT)).to_have_text(re.compile("Grid"))
    expect(page.locator("main")).to_have_attribute("data-view", "grid")


def test_the_first_tab_stop_skips_to_the_view(studio, window):
    page = window(studio, "/training")
    expect(page.locator("main h1")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the view")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_the_help_lists_what_works_here_and_gives_the_focus_back(studio, window):
    page = window(studio, "/grid")
    first = page.locator(CELL).first
    first.click()
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys.locator("dt", has_text="Ctrl+Z").first).to_be_visible()
    expect(keys).to_contain_text("Go to the training")
    check_accessible(page)
    shoot(page, "keys")
    page.keyboard.press("Escape")
    expect(keys).to_have_count(0)
    expect(first).to_be_focused()
    page.get_by_role("link", name="Training").click()
    page.keyboard.press("?")
    expect(keys).to_be_visible()
    expect(keys).not_to_contain_text("Select a range")


def test_keys_can_be_switched_off_and_on(studio, window):
    page = window(studio, "/grid")
    expect(page.locator(CELL).first).to_be_visible()
    page.get_by_role("button", name="Keys").click()
    page.get_by_role("checkbox", name="Keys without Ctrl").uncheck()
    page.get_by_role("button", name="Close", exact=True).click()
    page.reload()
    expect(page.locator(CELL).first).to_be_visible()
    page.keyboard.press("?")
    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.url == f"{studio.url}/grid"
    page.get_by_role("button", name="Keys").click()
    page.get_by_role("checkbox", name="Keys without Ctrl").check()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def test_keys_that_are_switched_off_stay_off_in_a_studio_started_anew(tmp_path, open_studio, window):
    """Digits with Shift, which label as class 11 and so on, and capital letters are characters as well."""
    folder = write_class_folders(tmp_path / "many", {f"class {k:02d}": 1 for k in range(12)})
    page = window(open_studio(folder, keys={"flag": "Shift+f"}), "/grid")
    expect(page.locator(CELL).first).to_be_visible()
    page.keyboard.press("Shift+Digit1")
    expect(page.locator(CELL).first).to_contain_text("class 10")
    page.keyboard.press("Shift+F")
    expect(page.locator(CELL).nth(1)).to_have_accessible_name(re.compile("flagged"))
    page.get_by_role("button", name="Keys").click()
    page.get_by_role("checkbox", name="Keys without Ctrl").uncheck()
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.locator(".actions kbd").first).to_be_hidden()

    again = open_studio(folder, keys={"flag": "Shift+f"})  # at another port
    page.goto(again.link())
    expect(page.locator(CELL).first).to_contain_text("class 10")
    expect(page.locator(".actions kbd").first).to_be_hidden()
    n = len(again.desk.journal.events())
    for key in ("2", "Shift+Digit1", "Shift+F", "x", "?", "Shift+Digit0"):
        page.keyboard.press(key)
    page.keyboard.press("Control+z")
    expect(page.locator(".toast")).to_contain_text("Undone: class 01/000.png")
    assert len(again.desk.journal.events()) == n + 1


def test_a_check_that_ends_meanwhile_is_seen_in_the_view_that_is_open(studio, window):
    page = window(studio, "/grid")
    page.clock.install()
    page.reload()
    expect(page.locator(CELL).first).to_be_visible()
    count = page.get_by_role("link", name="Review").locator(".count")
    expect(count).to_be_empty()
    finding = suspect("cat/002.png", "cat", "dog", 0.1)
    path = studio.desk.arrivals.findings_file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"findings": [asdict(finding)]}))
    page.clock.fast_forward(20_000)
    expect(count).to_have_text("1")
    expect(page.get_by_label(re.compile("^suspected label"))).to_be_visible()
    expect(page.locator(CELL).nth(2)).to_have_accessible_name(re.compile("suspected to be dog"))


def test_keys_written_in_a_field_are_text(studio, window):
    page = window(studio, "/grid")
    search = page.get_by_role("searchbox")
    search.fill("")
    search.press_sequentially("g?")
    expect(search).to_have_value("g?")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_keys_can_be_remapped(folder, open_studio, window):
    page = window(open_studio(folder, keys={"help": "h", "goTraining": "m"}), "/grid")
    expect(page.locator(CELL).first).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("h")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys.locator(".keys div", has_text="Go to the training")).to_contain_text("M")
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    expect(page.locator(CURRENT)).to_have_text("Training")


STROKES = """async (event) => (await import("/static/core/keys.js")).strokes({ shiftKey: false, ...event })"""


@pytest.mark.parametrize(
    ("event", "strokes"),
    [
        ({"key": "a", "code": "KeyA"}, ["a"]),
        ({"key": "A", "code": "KeyA"}, ["a"]),  # with the capitals locked
        ({"key": "A", "code": "KeyA", "shiftKey": True}, ["Shift+a"]),
        ({"key": "?", "code": "Slash", "shiftKey": True}, ["?"]),
        ({"key": "Z", "code": "KeyZ", "shiftKey": True, "ctrlKey": True}, ["Ctrl+Shift+z"]),
        ({"key": "z", "code": "KeyZ", "metaKey": True}, ["Ctrl+z"]),
        ({"key": "1", "code": "Digit1"}, ["1"]),
        ({"key": "1", "code": "Numpad1"}, ["1"]),
        ({"key": "End", "code": "Numpad1"}, ["End"]),
        ({"key": "!", "code": "Digit1", "shiftKey": True}, ["!", "Shift+1"]),
        ({"key": "&", "code": "Digit1"}, ["&", "1"]),  # French: digits are on the same keys, shifted
        ({"key": "1", "code": "Digit1", "shiftKey": True}, ["Shift+1"]),
        ({"key": "/", "code": "Digit7", "shiftKey": True}, ["/", "Shift+7"]),  # German: the slash first
        ({"key": " ", "code": "Space"}, ["Space"]),
        ({"key": "ArrowUp", "code": "ArrowUp", "shiftKey": True}, ["Shift+ArrowUp"]),
    ],
)
def test_keys_on_keyboards_of_several_countries(shell, event, strokes):
    assert shell.evaluate(STROKES, event) == strokes


@pytest.fixture(scope="module")
def shell(chromium, tmp_path_factory):
    """A page for tests that change nothing on it."""
    folder = write_class_folders(tmp_path_factory.mktemp("shell") / "photos", {"cat": 2, "dog": 2})
    with opened(folder) as studio:
        opener = Window(chromium)
        yield opener(studio, "/training")
        opener.close()


def test_a_write_is_shown_at_once_and_again_when_it_is_on_disk(studio, window):
    page = window(studio, "/training")
    answer = page.evaluate(WRITE, [["cat/000.png", "cat/001.png"], "dog"])
    assert answer["batch"] == 1
    assert label_of(studio, "cat/001.png") == "dog"
    told = page.evaluate(
        "window.told.map(({ items }) => items.map(({ label, saving }) => [label, Boolean(saving)]))"
    )
    assert told == [[["dog", True]] * 2, [["dog", False]] * 2]


def test_undo_and_redo_say_what_they_did(studio, window):
    page = window(studio, "/training")
    page.evaluate(WRITE, [["cat/000.png"], "dog"])
    page.keyboard.press("Control+z")
    note = page.locator(".toast")
    expect(note).to_contain_text("Undone: cat/000.png")
    assert label_of(studio, "cat/000.png") == "cat"
    note.get_by_role("button", name="Redo").click()
    expect(page.locator("[aria-live]")).to_contain_text("Done again: cat/000.png")
    assert label_of(studio, "cat/000.png") == "dog"
    page.keyboard.press("Control+z")
    expect(page.locator("[aria-live]")).to_contain_text("Undone: cat/000.png")
    page.keyboard.press("Control+y")
    expect(page.locator("[aria-live]")).to_contain_text("Done again: cat/000.png")
    assert label_of(studio, "cat/000.png") == "dog"


def test_nothing_to_undo_is_said_and_no_failure(studio, window):
    window.expected = ["status of 400"]
    page = window(studio, "/training")
    expect(page.locator("main h1")).to_be_visible()
    page.keyboard.press("Control+z")
    expect(page.locator(".toast")).to_contain_text("nothing to undo")


@pytest.mark.parametrize(
    ("answer", "label"), [("Keep what stands there", "fox"), ("Write mine over it", "dog")]
)
def test_of_two_windows_the_second_learns_what_stands_there_and_decides(studio, window, answer, label):
    window.expected = ["status of 409"]
    page = window(studio, "/training")
    page.evaluate("""async () => {
      const { httpTransport } = await import("/static/core/transport.js");
      const { ask } = httpTransport();
      const { items } = await ask("items", { start: 0, count: 1 });
      await ask("write", { items: [items[0].i], field: "label", seen: ["cat"], new: "fox", source: "key" });
      window.stale = items[0];
    }""")
    refused = page.evaluate("""async () => {
      const { createContext } = await import("/static/core/context.js");
      const { httpTransport } = await import("/static/core/transport.js");
      const { labels } = createContext({ transport: httpTransport(), overview: {}, keys: {} });
      return labels.write([window.stale], "label", "dog");
    }""")
    assert refused is None
    conflict = page.get_by_role("dialog", name="Changed elsewhere")
    expect(conflict.get_by_role("row").nth(1)).to_have_text(re.compile(r"cat/000\.png\s*fox\s*ada\s*dog"))
    check_accessible(page)
    conflict.get_by_role("button", name=answer).click()
    expect(conflict).to_have_count(0)
    page.wait_for_timeout(300)
    assert label_of(studio, "cat/000.png") == label


def test_quick_writes_on_one_image_go_one_after_another(studio, window):
    page = window(studio, "/training")
    page.evaluate(WRITE, [["dog/000.png"], "cat"])
    page.evaluate("""() => Promise.all(["dog", "fox", "cat", "owl"].map(
      (name) => window.context.labels.write([{ ...window.chosen[0], label: "cat" }], "label", name)))""")
    assert label_of(studio, "dog/000.png") == "owl"
    assert [event.new for event in studio.desk.journal.events()] == ["cat", "dog", "fox", "cat", "owl"]


def test_what_could_not_be_written_is_taken_off_the_page_again(studio, window):
    """Two writes are on their way when the studio goes: the page shows what is on disk, not the first."""
    window.expected = ["ERR_FAILED"]
    page = window(studio, "/training")
    page.evaluate(WRITE, [["dog/000.png"], "cat"])
    page.route("**/api/write", lambda route: route.abort())
    failed = page.evaluate("""async () => {
      const [item] = (await window.context.ask("items", { start: 6, count: 1 })).items;
      const writes = ["fox", "owl"].map((name) => window.context.labels.write([item], "label", name));
      const ends = await Promise.allSettled(writes);
      return ends.map(({ reason }) => [reason.name, reason.status]);
    }""")
    assert failed == [["AskError", 0]] * 2
    last = page.evaluate("window.told.filter(({ items }) => items.length).at(-1).items[0]")
    assert (last["label"], last.get("saving", False)) == ("cat", False)


def test_what_one_window_writes_another_one_shows(studio, window):
    page, other = window(studio, "/training"), window(studio, "/grid")
    cell = other.locator(CELL).first
    expect(cell).to_contain_text("cat")
    page.evaluate(WRITE, [["cat/000.png"], "dog"])
    expect(cell).to_contain_text("dog")


def test_a_studio_that_is_gone_is_noticed_and_so_is_its_return(studio, window):
    window.expected = ["ERR_FAILED"]
    page = window(studio, "/training")
    page.route("**/api/changes", lambda route: route.abort())
    lost = page.get_by_role("alert").filter(has_text="does not answer")
    expect(lost).to_be_visible()
    check_accessible(page)
    page.unroute("**/api/changes")
    expect(lost).to_have_count(0)


def test_a_studio_that_was_started_anew_asks_for_its_link(folder, window):
    window.expected = ["status of 403", "ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "ERR_SOCKET", "ERR_CONTENT"]
    with started(folder) as first:
        page = window(first, "/training")
        port = first.url.rpartition(":")[2]
        expect(page.locator("main h1")).to_be_visible()
    with started(folder, "--port", port) as second:
        expect(page.get_by_role("alert").filter(has_text="open the link")).to_be_visible()
        page.goto(second.link())
        expect(page.locator(CELL).first).to_be_visible()
        page.close()


def test_a_view_that_fails_says_so_and_the_others_go_on(studio, window):
    window.expected = ["ERR_FAILED", "Failed to fetch dynamically imported module"]
    page = window(studio, "/training")
    page.route("**/views/try.js", lambda route: route.abort())
    page.get_by_role("link", name="Try").click()
    expect(page.get_by_role("alert")).to_contain_text("This view cannot be shown")
    page.get_by_role("link", name="Training").click()
    expect(page.locator("main h1")).to_be_visible()


def test_read_only_is_seen(folder, open_studio, window):
    page = window(open_studio(folder, read_only=True), "/training")
    expect(page.locator("header .badge")).to_have_text("read only")


@pytest.mark.parametrize("width", [1280, 320])
def test_the_page_around_the_views_is_accessible(studio, window, width):
    page = window(studio, "/training", viewport={"width": width, "height": 640})
    expect(page.locator("main h1")).to_be_visible()
    check_accessible(page)
    check_reflows(page)
