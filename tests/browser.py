"""Pages in a real browser: Debian's Chromium, driven by Playwright; without one, skipped, and failed in CI.

``opened`` serves a desk in this process, ``started`` starts `tellapart studio` as a user would; the fixture
``window`` opens pages of either. A page that shows anything in its console, raises an error or asks another
machine for anything fails its test.

``TELLAPART_LOOK=FOLDER`` keeps what tests `shoot`; ``TELLAPART_SCREENSHOTS=docs/studio`` makes each `picture`
of the documentation.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest

from servers import running

try:
    from playwright.sync_api import expect
except ImportError:  # the fixture `chromium` says what to install
    expect = None

BROWSERS = ("chromium-headless-shell", "chromium")
"""Debian's packages, and their commands; the first has no window to draw, and takes half the time."""
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser, for one file: Playwright keeps an event loop running, which other tests would meet."""
    if expect is None:
        do_without("pip install playwright")
    if CHROMIUM is None:
        do_without(f"apt-get install {BROWSERS[0]}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running_playwright:
        browser = running_playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def do_without(command: str) -> NoReturn:
    """Skip a test that needs what a command would install; in CI, where nothing may be left out, fail it."""
    said = f"no browser can be driven here; to run the browser tests: {command}"
    if os.environ.get("CI"):
        pytest.fail(said, pytrace=False)
    pytest.skip(said)


@dataclass
class Studio:
    """A studio that answers.

    Attributes
    ----------
    url
        Such as ``http://127.0.0.1:40211``.
    link
        Returns the link that lets one browser in.
    desk
        What is open, where it runs in this process.
    process
        It, where it is one of its own.
    """

    url: str
    link: Callable[[], str]
    desk: Any = None
    process: Any = None


@contextmanager
def opened(target: Path, **choices: Any) -> Iterator[Studio]:
    """Open a folder, manifest or run as `tellapart studio` does, and serve it in this process."""
    from tellapart.studio.opening import Choices, open_desk

    desk, _ = open_desk(target, Choices(**{"actor": "ada", **choices}))
    with served(desk) as studio:
        yield studio


@contextmanager
def served(desk: Any) -> Iterator[Studio]:
    """Serve a desk in this process."""
    from tellapart.studio.app import create_app
    from tellapart.studio.guard import Door

    door = Door()
    with running(create_app(desk, door), lifespan="off", timeout_graceful_shutdown=1) as url:
        yield Studio(url, lambda: f"{url}/?token={door.token}", desk)


@contextmanager
def started(*arguments: str | Path, **environment: str) -> Iterator[Studio]:
    """Start `tellapart studio` as a process of its own; it is killed at the end, if it still runs."""
    command = [sys.executable, "-m", "tellapart", "studio", *map(str, arguments), "--no-browser"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )
    printed: list[str] = []
    try:
        for line in process.stdout:
            printed.append(line)
            if "?token=" in line:
                break
        else:
            raise RuntimeError(f"the studio did not start: {''.join(printed)}")
        reader = Thread(target=lambda: printed.extend(process.stdout), daemon=True)
        reader.start()
        links = re.compile(r"http://127\.0\.0\.1:\d+/\?token=\S+")
        url = links.search(printed[-1])[0].partition("/?")[0]
        yield Studio(url, lambda: links.findall("".join(printed))[-1], process=process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


class Window:
    """Opens pages; what they complain of is kept in `noise`.

    Attributes
    ----------
    noise
        Console messages, errors and requests to other machines, each with where it comes from.
    expected
        Patterns of noise that a test provokes, such as ``"status of 409"`` for a conflict. Where it comes
        from is not searched: a port may hold any number.
    """

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self.noise: list[tuple[str, str]] = []
        self.expected: list[str] = []

    def __call__(self, studio: Studio, address: str = "/", **options: Any) -> Any:
        """Return a page of a new profile that shows an address of the studio, such as ``/grid?label=a``.

        Options are those of Playwright's contexts: ``viewport``, ``color_scheme``, ``reduced_motion``.
        """
        context = self._browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(10_000)
        self._contexts.append(context)
        page = self.tab(context)
        token = urlsplit(studio.link()).query
        page.goto(f"{studio.url}{address}{'&' if '?' in address else '?'}{token}")
        return page

    def tab(self, context: Any) -> Any:
        """Return one more page of a profile, which shows nothing yet."""
        page = context.new_page()
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self.noise.append((f"error: {error}", page.url)))
        page.on("request", self._note_request)
        return page

    def _note_message(self, message: Any) -> None:
        self.noise.append((f"{message.type}: {message.text}", str(message.location.get("url"))))

    def _note_request(self, request: Any) -> None:
        if is_outside(request.url):
            self.noise.append(("asks another machine", request.url))

    def close(self) -> None:
        """Close all profiles; fail if a page complained."""
        for context in self._contexts:
            context.close()
        unexpected = [
            f"{text} ({where})"
            for text, where in self.noise
            if not any(re.search(pattern, text) for pattern in self.expected)
        ]
        assert not unexpected, "\n".join(unexpected)


@pytest.fixture
def open_studio() -> Iterator[Callable[..., Studio]]:
    """``opened``, until the test ends; to be named before ``window``, whose pages are closed first."""
    with ExitStack() as stack:
        yield lambda target, **choices: stack.enter_context(opened(target, **choices))


@pytest.fixture
def window(chromium: Any) -> Iterator[Window]:
    """Opens pages of a studio: ``page = window(studio, "/grid")``."""
    opener = Window(chromium)
    yield opener
    opener.close()


def is_outside(url: str) -> bool:
    """Return whether a request leaves this machine."""
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob", "about") and parts.hostname != "127.0.0.1"


def check_accessible(page: Any) -> None:
    """Fail on anything that axe finds against WCAG 2.2 A and AA, in light and in dark."""
    sync_axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = sync_axe.Axe().run(page, options={"runOnly": {"type": "tag", "values": AXE_TAGS}})
        told = [
            f"{scheme}: {broken['id']}: {node['target']} {node['failureSummary']}"
            for broken in found.response["violations"]
            for node in broken["nodes"]
        ]
        assert not told, "\n".join(told)


def check_reflows(page: Any, width: int = 320) -> None:
    """Fail if a narrow window would have to be scrolled sideways."""
    page.set_viewport_size({"width": width, "height": 640})
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, f"at {width} px the page is {wide} px wide"


def tab_to(page: Any, target: Any, most: int = 80) -> None:
    """Press Tab until an element has the focus, as somebody without a mouse would."""
    expect(target).to_be_visible()
    for _ in range(most):
        if target.evaluate("node => node === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{most} times Tab do not lead to {target}")


def shoot(page: Any, name: str, *, full: bool = False) -> None:
    """Keep a screenshot for who wants to look at what a test saw; without ``$TELLAPART_LOOK``, do nothing."""
    _keep("TELLAPART_LOOK", page, name, full)


def picture(page: Any, name: str) -> None:
    """Make a picture of the documentation; without ``$TELLAPART_SCREENSHOTS``, do nothing."""
    _keep("TELLAPART_SCREENSHOTS", page, name, full=False)


def _keep(variable: str, page: Any, name: str, full: bool) -> None:
    folder = os.environ.get(variable)
    if not folder:
        return
    path = Path(folder) / f"{name}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path, full_page=full, type="jpeg", quality=85)
