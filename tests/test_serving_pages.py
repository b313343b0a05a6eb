"""The pages at / and /docs: what they may load, how they read, and both used in a real browser."""

import base64
import json
import re
import urllib.request
from html.parser import HTMLParser

import numpy as np
import pytest

from pictures import class_picture, encode, solid
from servers import running
from tellapart.serving.app import create_app
from tellapart.serving.keys import Keys
from tellapart.serving.pages import HTML, STATIC
from tellapart.serving.settings import Settings

PAGES = ("try.html", "docs.html")


@pytest.fixture(scope="module")
def url(trained):
    with running(create_app(Settings(models={"photos": trained.folder}))) as url:
        yield url


@pytest.fixture(scope="module")
def locked(trained, tmp_path_factory):
    """A service with a key and two models: its URL and the key."""
    keys_file = tmp_path_factory.mktemp("keys") / "keys.json"
    _, key = Keys.open(keys_file).create()
    models = {"photos": trained.folder, "again": trained.folder}
    with running(create_app(Settings(models=models, keys_file=keys_file))) as url:
        yield url, key


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.found and self.found[-1][0] in ("script", "style"):
            self.inline += data.strip()


# ---- what is sent --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_come_with_a_policy_that_lets_them_ask_nobody_else(url, locked, path):
    for service in (url, locked[0]):
        with urllib.request.urlopen(service + path) as response:
            assert response.headers["Content-Type"] == "text/html; charset=utf-8"
            policy = response.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'self'; img-src 'self' blob: data:")
            assert "unsafe" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", PAGES)
def test_pages_have_no_inline_script_or_style_and_load_own_files_only(name):
    tags = Tags((HTML / name).read_text(encoding="utf-8"))
    assert tags.inline == ""
    for _, attributes in tags.found:
        assert "style" not in attributes
        assert not any(attribute.startswith("on") for attribute in attributes)
        for attribute in ("src", "href"):
            target = attributes.get(attribute) or "#"
            assert not re.match(r"[a-z]+:|/", target) or target == "data:,"
            if target.startswith("static/"):
                assert (STATIC / target.removeprefix("static/")).is_file()


def test_nothing_in_the_pages_names_another_host():
    for file in [*STATIC.iterdir(), *HTML.iterdir()]:
        assert not re.search(r"https?://|@import", file.read_text(encoding="utf-8")), file.name


def test_only_the_pages_own_files_are_static(url):
    for path in ("../pages.py", "%2e%2e/pages.py", "..%2fsettings.py", "nothing.js", "try.html"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/static/{path}")
        assert refused.value.code == 404


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_have_contrast(scheme):
    css = (STATIC / "service.css").read_text(encoding="utf-8")
    colours = dict(
        re.findall(r"--([\w-]+): (#\w{6})", re.findall(r":root \{(.*?)\}", css, re.DOTALL)[scheme])
    )
    for paper in ("paper", "panel"):
        for text in ("ink", "soft", "accent", "s2", "s3"):
            assert contrast(colours[text], colours[paper]) >= 4.5, (text, paper)
        for line in ("s1", "quiet-bar", "soft"):
            assert contrast(colours[line], colours[paper]) >= 3, (line, paper)
    assert contrast(colours["ink"], colours["note"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio of two ``#rrggbb``."""

    def luminance(colour: str) -> float:
        values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


# ---- in a browser --------------------------------------------------------------------------------------


@pytest.fixture
def opened(chromium):
    """Open a page; console messages, errors and requests to elsewhere fail the test at its end."""
    noise: list[str] = []
    pages = []

    def open_page(address: str, *, expected: str = "", **options):
        origin = re.match(r"http://[^/]+/", address)[0]
        page = chromium.new_page(**options)

        def note(text: str) -> None:
            if not (expected and expected in text):
                noise.append(text)

        page.on("console", lambda message: note(message.text))
        page.on("pageerror", lambda error: note(str(error)))
        page.on("request", lambda r: None if r.url.startswith((origin, "blob:", "data:")) else note(r.url))
        page.goto(address)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert noise == []


def picture(index: int) -> bytes:
    return encode(class_picture(np.random.default_rng(5), index), "PNG")


def drop(page, content: bytes, name: str = "a.png", type: str = "image/png") -> None:
    """Let a file fall onto the page, as a hand with a mouse would."""
    transfer = page.evaluate_handle(
        """([content, name, type]) => {
            const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type }));
            return transfer;
        }""",
        [base64.b64encode(content).decode(), name, type],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def answered(page) -> str:
    page.locator("#answer:not([aria-busy]) h2").wait_for()
    return page.locator("#answer h2").inner_text()


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 400, 1280])
def test_a_dropped_image_is_answered(opened, url, width):
    page = opened(f"{url}/", viewport={"width": width, "height": 800})
    page.get_by_role("heading", name="benign or malignant?", level=1).wait_for()
    for index, label in enumerate(("benign", "malignant")):
        drop(page, picture(index))
        page.get_by_role("heading", name=label, exact=True).wait_for()
        assert page.locator(".bars .decided .name").inner_text() == label
        assert re.search(
            r"Answered in [\d.]+ m?s by version [0-9a-f]{12}", page.locator(".took").inner_text()
        )
        assert page.get_by_role("status").inner_text().startswith(f"{label}, ")
        assert page.evaluate("document.getElementById('picture').naturalWidth") == 48
    shown = [float(p) for p in re.findall(r"[\d.]+", " ".join(page.locator(".bars .p").all_inner_texts()))]
    assert sum(shown) == pytest.approx(100, abs=0.3)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
def test_an_image_is_chosen_with_the_keyboard(opened, url):
    page = opened(f"{url}/")
    page.locator("#limits:not(:empty)").wait_for()
    page.locator("#file").focus()
    # What a key does may overtake the wish to catch the dialog; an answer of the page comes after it.
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "file"
        assert page.evaluate("getComputedStyle(document.getElementById('drop')).outlineStyle") == "solid"
        page.keyboard.press("Space")
    chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": picture(0)})
    assert answered(page) == "benign"


@pytest.mark.browser
def test_a_pasted_image_is_answered(opened, url):
    page = opened(f"{url}/")
    page.locator("#limits:not(:empty)").wait_for()
    page.evaluate(
        """(content) => {
            const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([bytes], "image.png", { type: "image/png" }));
            document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
        }""",
        base64.b64encode(picture(1)).decode(),
    )
    assert answered(page) == "malignant"


@pytest.mark.browser
def test_below_the_threshold_asked_for_the_page_says_not_sure(opened, url):
    page = opened(f"{url}/")
    drop(page, encode(solid("white"), "PNG"))
    answered(page)
    page.get_by_label("Say “not sure” below").focus()
    page.keyboard.press("End")
    page.get_by_role("heading", name="Not sure").wait_for()
    assert "most likely" in page.locator(".sure").inner_text()
    assert page.evaluate("document.activeElement.id") == "threshold"
    page.keyboard.press("Home")
    page.locator("#answer h2:not(.unsure)").wait_for()


@pytest.mark.browser
def test_what_is_no_image_is_refused_in_words(opened, url):
    page = opened(f"{url}/", expected="400 (Bad Request)")
    drop(page, b"<script>document.title = 'owned'</script>", "<b>note</b>.txt", "text/plain")
    assert answered(page) == "This is not an image that can be read."
    assert "accepted: JPEG" in page.locator("#answer p").inner_text()
    assert page.locator("#unseen").inner_text().startswith("<b>note</b>.txt")
    drop(page, b"\0" * 10_000_001)
    page.get_by_role("heading", name="This file is too large.").wait_for()


@pytest.mark.browser
def test_a_key_is_asked_for_and_forgotten(opened, locked):
    url, key = locked
    page = opened(f"{url}/", expected="401 (Unauthorized)")
    drop(page, picture(0))
    assert answered(page) == "This service wants a key."
    field = page.get_by_label("Key")
    assert field.get_attribute("type") == "password"
    field.fill("not the key")
    field.press("Enter")
    page.get_by_role("heading", name="The key is not accepted.").wait_for()
    field.fill(key)
    field.press("Enter")
    page.get_by_role("heading", name="benign", exact=True).wait_for()
    page.get_by_label("Model").select_option("again")
    page.locator("#facts", has_text="again ·").wait_for()
    kept = page.evaluate(
        "[...Object.values(localStorage), ...Object.values(sessionStorage), document.cookie]"
    )
    assert not any(kept)
    assert key not in page.url
    page.reload()
    assert page.locator("#key").input_value() == ""


@pytest.mark.browser
def test_hostile_class_names_stay_text(opened, url):
    page = opened(f"{url}/docs")
    hostile = "<img src=x onerror=document.title='owned'>"
    page.route("**/openapi.json", lambda route: renamed(route, hostile))
    page.goto(f"{url}/")
    page.get_by_role("heading", name=hostile).wait_for()
    assert page.title() == "Try the model · tellapart"


def renamed(route, name: str) -> None:
    answer = route.fetch()
    document = answer.json()
    document["x-tellapart"]["models"][0]["class_names"] = [name, "b"]
    route.fulfill(response=answer, json=document)


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 400, 1280])
def test_the_docs_show_every_route_with_its_curl_line(opened, url, width):
    page = opened(f"{url}/docs", viewport={"width": width, "height": 800})
    page.locator(".schema").first.wait_for()
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    with urllib.request.urlopen(f"{url}/openapi.json") as response:
        paths = list(json.load(response)["paths"])
    shown = page.locator(".route > summary > code").all_inner_texts()
    assert sorted(shown) == sorted(paths)
    lines = page.locator(".command pre").all_inner_texts()
    assert len(lines) == len(shown)
    assert all(url in line and "$" not in line.replace("$(base64", "") for line in lines)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
def test_the_docs_send_get_requests(opened, locked):
    url, key = locked
    page = opened(f"{url}/docs", expected="401 (Unauthorized)")
    page.locator("#get-v2-models-model > summary").click()
    form = page.locator("#get-v2-models-model form")
    form.get_by_role("button").click()
    form.get_by_text("401 Unauthorized").wait_for()
    page.get_by_label("Key").fill(key)
    form.get_by_role("textbox", name="model").fill("again")
    form.get_by_role("button").click()
    form.get_by_text("200 OK").wait_for()
    assert '"name": "again"' in form.locator("pre").inner_text()


@pytest.mark.browser
def test_the_docs_open_what_the_address_points_at(opened, url):
    page = opened(f"{url}/docs#get-healthz")
    page.locator("#get-healthz[open]").wait_for()
    page.get_by_role("navigation", name="Contents").get_by_text("/readyz").click()
    page.locator("#get-readyz[open]").wait_for()


@pytest.mark.browser
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_every_control_has_a_name_and_every_target_room(opened, locked, path):
    page = opened(locked[0] + path)
    page.locator("#title").wait_for()
    page.wait_for_load_state("networkidle")
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    nameless, small = page.evaluate(
        """() => {
            const shown = [...document.querySelectorAll("input, select, button, summary")]
                .filter((one) => one.checkVisibility() && !one.classList.contains("unseen"));
            const nameless = (one) =>
                !one.labels?.length && !one.getAttribute("aria-label") && !one.textContent.trim();
            const small = (one) => one.getBoundingClientRect().height < 24;
            return [nameless, small].map((bad) => shown.filter(bad).map((one) => one.outerHTML));
        }"""
    )
    assert nameless == []
    assert small == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
