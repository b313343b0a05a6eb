"""A real JupyterLab on this machine: cells show grids, keys relabel, and the journal has it."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from browser import expect, picture
from desks import draw_clinic
from tellapart.data.journal import Journal, journal_path

pytestmark = [pytest.mark.browser, pytest.mark.slow]

for needed in ("jupyterlab", "anywidget"):
    if find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed", allow_module_level=True)

START_S = 120
"""How long JupyterLab may take on a busy machine."""


def notebook(*cells: str) -> dict:
    """A notebook of code cells, as its file holds it."""
    blank = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
    return {
        "cells": [{**blank, "id": f"cell-{k}", "source": source} for k, source in enumerate(cells)],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


@pytest.fixture
def folder(tmp_path):
    draw_clinic(tmp_path / "photos")
    cells = (
        'from tellapart.notebook import Grid\nGrid("photos", user="ada", height=420)',
        'Grid("photos", user="ben", height=360)',
    )
    (tmp_path / "labels.ipynb").write_text(json.dumps(notebook(*cells)))
    return tmp_path


@pytest.fixture
def lab(folder):
    """Address of a JupyterLab that has `folder` open; it, its kernels and its settings end with the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = folder / "jupyter"
    # No news, no extension manager: both ask other machines.
    overrides = settings / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    overrides.mkdir(parents=True)
    (overrides / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}'
    )
    homes = {name: str(settings / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = {
        **os.environ,
        **{f"JUPYTER_{name}_DIR": home for name, home in homes.items()},
        "JUPYTERLAB_SETTINGS_DIR": str(settings / "config" / "lab" / "user-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(settings / "workspaces"),
        "IPYTHONDIR": str(settings / "ipython"),
    }
    log = folder / "lab.log"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        "--expose-app-in-browser",
    ]
    command += ["--LabApp.extension_manager=readonly", f"--ServerApp.root_dir={folder}"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        deadline = time.monotonic() + START_S
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()  # it ends its kernels
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def events(folder):
    journal = Journal(journal_path(folder / "photos"))
    return [(event.field, event.old, event.new, event.actor) for event in journal.events()]


def test_a_cell_relabels_and_the_journal_has_it(lab, folder, chromium, window):
    context = chromium.new_context(viewport={"width": 1280, "height": 1100})
    context.set_default_timeout(60_000)
    window.expected.append("^(debug|info|log|warning): ")  # JupyterLab says what it does
    page = window.tab(context)
    page.goto(f"{lab}/lab/tree/labels.ipynb?reset")
    # Cells that are run before there is a kernel are not run at all.
    expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible(timeout=60_000)
    page.locator(".jp-CodeCell").first.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    widget, other = page.locator(".tellapart").nth(0), page.locator(".tellapart").nth(1)
    cells = widget.locator(".cell")
    expect(cells.nth(0)).to_be_visible(timeout=90_000)
    expect(widget.locator(".cell img[src^=blob]").first).to_be_visible(timeout=30_000)
    expect(other.locator(".cell img[src^=blob]").first).to_be_visible(timeout=30_000)

    cells.nth(0).click()
    for key in ("2", "2", "d", "d", "b", "Control+z"):
        page.keyboard.press(key)
    first, second = cells.nth(0), cells.nth(1)
    expect(widget.locator(".toast")).to_contain_text("Undone", timeout=30_000)
    expect(first).to_have_attribute("aria-label", "malignant, given as benign, test/benign/000.jpg")
    expect(second).to_have_attribute("aria-label", "benign, test/benign/001.jpg")
    expect(other.locator(".cell").nth(0)).to_have_attribute(
        "aria-label", re.compile("^malignant"), timeout=30_000
    )
    widget.get_by_role("button", name="Close this note").click()
    page.mouse.move(5, 5)
    picture(page, "notebook")
    assert events(folder) == [
        ("label", "benign", "malignant", "ada"),
        ("label", "benign", "malignant", "ada"),
        ("label", "malignant", "benign", "ada"),
    ]
    expect(page.locator(".jp-CodeCell")).to_have_count(3)  # or b or d d would have reached the notebook
    context.close()
