"""`tellapart studio` with 100,000 images, in a real browser on the same machine.

    python benchmarks/studio.py [--data FOLDER] [--images N]

Images are drawn once into FOLDER: JPEGs of 320x240 pixels in two classes, no two of the same content; without
FOLDER they go to a temporary one. The studio is started on them as a user would, with an empty cache of its
own, and once more for the figures: what a set that was opened before takes. Chromium (Debian's, without a
window) opens the grid, jumps to the end, scrolls and relabels with the keyboard. Thumbnails are those of
images that nobody has looked at yet, so that each is decoded.
"""

import argparse
import io
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine_line, megabytes, peak_bytes, table
from PIL import Image
from playwright.sync_api import Page, sync_playwright

N_BASES = 500
"""Pictures that are drawn; the others are these with another comment in the file."""

N_LABELS = 60
N_JUMPS = 120
N_STEPS = 300

CHROMIUM = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

SEEN = """() => {
  const host = document.querySelector('.host')?.getBoundingClientRect();
  const cells = [...document.querySelectorAll('.cell')].filter((cell) => {
    const box = cell.getBoundingClientRect();
    return box.bottom > host.top && box.top < host.bottom;
  });
  const pictures = cells.map((cell) => cell.firstChild);
  return cells.length > 0 && pictures.every((img) => img.complete && img.naturalWidth > 0);
}"""
"""Whether every image in sight has its picture."""

FRAMES = """async ({steps, distance}) => {
  const host = document.querySelector('.host'), frames = [];
  let before = await new Promise(requestAnimationFrame), nodes = 0;
  for (let k = 0; k < steps; k++) {
    host.scrollTop = distance ? host.scrollTop + distance : Math.random() * host.scrollHeight;
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - before);
    before = now;
    nodes = Math.max(nodes, document.querySelectorAll('*').length);
  }
  return {frames, nodes};
}"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder for the images; kept, and used again")
    parser.add_argument("--images", type=int, default=100_000)
    options = parser.parse_args()
    print(machine_line("starlette", "uvicorn", "playwright"), end="\n\n")
    with tempfile.TemporaryDirectory(prefix="tellapart-") as name:
        place = Path(name)
        data = options.data or place / "images"
        draw(data, options.images)
        environment = {**os.environ, "TELLAPART_CACHE": str(place / "cache")}
        arguments = [str(data), f"--journal={place / 'labels.sqlite'}", f"--runs={place / 'runs'}"]
        with studio(arguments, environment) as (_, _, seconds):
            first = seconds
        with studio(arguments, environment) as (process, link, seconds):
            rows = [("start, first time", f"{first:.2f} s", ""), ("start, again", f"{seconds:.2f} s", "2 s")]
            rows += browse(link)
            rows.append(("memory of the studio, at most", megabytes(peak_bytes(process.pid)), "400 MB"))
    print(table(("figure", "measured", "wanted, at most"), rows))


def draw(folder: Path, n_images: int) -> None:
    """Write the images of two classes, unless they are there."""
    found = sum(len(files) for _, _, files in os.walk(folder))
    if found == n_images:
        return
    if found:
        raise SystemExit(f"{folder} holds {found:,} files, not {n_images:,}: empty it, or name another")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:240, 0:320] / 40
    bases = []
    for k in range(N_BASES):
        wave = np.sin(x * np.cos(k) + y * np.sin(k) + rng.random(3)[:, None, None] * 6)
        pixels = 128 + 70 * wave.transpose(1, 2, 0) + rng.normal(0, 10, (240, 320, 3))
        buffer = io.BytesIO()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=80)
        bases.append(buffer.getvalue())
    for name in ("benign", "malignant"):
        (folder / name).mkdir(parents=True)
    for i in range(n_images):
        comment = b"\xff\xfe\x00\x0a%08d" % i
        content = bases[i % N_BASES]
        path = folder / ("benign", "malignant")[i % 4 == 3] / f"image-{i:06d}.jpg"
        path.write_bytes(content[:2] + comment + content[2:])


@contextmanager
def studio(arguments: list[str], environment: dict[str, str]) -> Iterator[tuple[Any, str, float]]:
    """Start a studio; give its process, its link and the seconds until it printed that."""
    command = [sys.executable, "-m", "tellapart", "studio", *arguments, "--no-browser"]
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    try:
        told = ""
        while not (found := re.search(r"http://\S+token=\S+", told)):
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"the studio did not start:\n{told}")
            told += line
        yield process, found[0], time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def browse(link: str) -> list[tuple[str, str, str]]:
    """Return figure, value and what is wanted, of one visit to the grid."""
    address, _, token = link.partition("/?")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        # Waiting for a condition evaluates text, which the studio's own policy forbids.
        page = browser.new_page(viewport={"width": 1280, "height": 800}, bypass_csp=True)
        started = time.perf_counter()
        page.goto(f"{address}/grid?{token}")
        page.wait_for_function(SEEN)
        opened = time.perf_counter() - started
        page.locator(".cell.cursor").focus()
        last = page.locator(".cell.cursor").get_attribute("aria-setsize")
        started = time.perf_counter()
        page.keyboard.press("End")
        page.wait_for_selector(f'.cell[aria-posinset="{last}"]')
        page.wait_for_function(SEEN)
        jumped = time.perf_counter() - started
        smooth = page.evaluate(FRAMES, {"steps": N_STEPS, "distance": -40})
        wild = page.evaluate(FRAMES, {"steps": N_JUMPS, "distance": 0})
        started = time.perf_counter()
        page.wait_for_function(SEEN)
        settled = time.perf_counter() - started
        written = relabel(page)
        client = page.context.new_cdp_session(page)
        client.send("HeapProfiler.collectGarbage")
        client.send("Performance.enable")
        metrics = {one["name"]: one["value"] for one in client.send("Performance.getMetrics")["metrics"]}
        nodes = max(smooth["nodes"], wild["nodes"])
        browser.close()
    return [
        ("first thumbnails after opening", f"{opened:.2f} s", "2 s"),
        ("jump to the last image, until its thumbnails are there", f"{jumped:.2f} s", "1 s"),
        ("frame while scrolling, median (95 % are faster than)", frames(smooth["frames"]), "16.7 ms"),
        (f"frame in {N_JUMPS} random jumps, median (95 %)", frames(wild["frames"]), "16.7 ms"),
        ("thumbnails after these jumps", f"{settled:.2f} s", ""),
        ("elements in the page, at most", f"{nodes:,}", "1,000"),
        ("heap of the page", megabytes(int(metrics["JSHeapUsedSize"])), "50 MB"),
        ("label write acknowledged, median (95 %)", spread(written), "50 ms"),
    ]


def relabel(page: Page) -> list[float]:
    """Relabel images by the keyboard; return milliseconds from question to answer of each write."""
    page.locator(".cell.cursor").focus()
    page.keyboard.press("Home")
    page.wait_for_function(SEEN)
    page.evaluate(
        "() => { performance.clearResourceTimings(); performance.setResourceTimingBufferSize(5000); }"
    )
    for _ in range(N_LABELS):
        page.keyboard.press("2")
        page.wait_for_timeout(100)
    page.wait_for_function("() => !document.querySelector('.cell.saving')")
    times: list[float] = page.evaluate(
        "() => performance.getEntriesByType('resource').filter((one) => one.name.endsWith('/api/write'))"
        ".map((one) => one.duration)"
    )
    if len(times) < N_LABELS // 2:
        raise SystemExit(f"{len(times)} of {N_LABELS} labels were written")
    return times


def spread(times: list[float]) -> str:
    """Return median and 95th percentile of milliseconds."""
    return f"{statistics.median(times):.1f} ms ({np.percentile(times, 95):.1f} ms)"


def frames(times: list[float]) -> str:
    """Return the same, without the first frames."""
    return spread(times[5:])


if __name__ == "__main__":
    main()
