"""`tellapart loadtest`."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli.options import image_paths
from tellapart.cli.terminal import tell
from tellapart.errors import ConfigError, ServiceError, UnreadableImage

if TYPE_CHECKING:
    from tellapart.client import Prediction
    from tellapart.loadtest.figures import Level
    from tellapart.loadtest.report import Setting


def loadtest(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the service is: http://127.0.0.1:8000.")],
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGE]...", help="Files or folders to send in turn; default one drawn."),
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(metavar="N,N,…", help="Requests under way at once; default 1,2,4,… until saturation."),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="N,N,…", help="Requests per second instead, at random times.")
    ] = None,
    duration_s: Annotated[
        float, typer.Option("--duration", metavar="SECONDS", min=0.1, help="For each load.")
    ] = 10.0,
    model: Annotated[str | None, typer.Option(help="Which of the service's models.")] = None,
    key: Annotated[
        str | None, typer.Option(envvar="TELLAPART_KEY", help="A key of the service; TELLAPART_KEY too.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write the page with curves.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures.")
    ] = None,
) -> int:
    """Put rising load on the service at URL: throughput, latency, errors."""
    if concurrency and rate:
        raise ConfigError("give --concurrency or --rate, not both")
    loads = _loads(rate or concurrency, is_whole=not rate)
    from tellapart.data.files import write_atomically
    from tellapart.loadtest.load import Traffic, rising
    from tellapart.loadtest.picture import drawn
    from tellapart.loadtest.report import render

    files = [Path(path) for image in images or () for path in image_paths(os.fspath(image))]
    bodies = [_read(path) for path in files] or [drawn()]
    first = _first_answer(url, files[0] if files else bodies[0], key, model)
    setting = _setting(url, first, bodies)
    query = f"?model={first.model}" if model else ""
    traffic = Traffic.to(f"{url.rstrip('/')}/v1/predict{query}", bodies, key=key)
    tell(_HEADER)
    levels = []
    for level in rising(traffic, loads, duration_s=duration_s, is_open=bool(rate)):
        levels.append(level)
        tell(_line(level))
    if out:
        write_atomically(out, render(levels, setting).encode())
        tell(f"report  {out}")
    if json_file:
        text = json.dumps([level.to_dict() for level in levels], indent=2)
        write_atomically(json_file, text.encode())
    return _conclude(levels)


def _loads(text: str | None, *, is_whole: bool) -> list[float] | None:
    if text is None:
        return None
    try:
        loads = [int(item) if is_whole else float(item) for item in text.split(",")]
    except ValueError:
        loads = []
    if not loads or not all(0 < load < 1e6 for load in loads):
        kind = "--concurrency takes whole numbers" if is_whole else "--rate takes numbers"
        raise ConfigError(f"{kind} above 0, separated by commas, such as 1,2,4,8; we got {text!r}")
    return list(loads)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UnreadableImage(f"{path}: {(exc.strerror or str(exc)).lower()}") from exc


def _first_answer(url: str, image: Path | bytes, key: str | None, model: str | None) -> "Prediction":
    """Ask once, so that a wrong address, key or image is told before any load."""
    from tellapart.client import Client

    with Client(url, key, retries=0) as client:
        return client.predict(image, model=model)


def _setting(url: str, first: "Prediction", bodies: list[bytes]) -> "Setting":
    import platform
    from datetime import datetime

    from tellapart.data.reader import n_cores
    from tellapart.loadtest.report import Setting

    return Setting(
        url=url,
        model=first.model,
        version=first.version,
        n_images=len(bodies),
        mean_bytes=sum(map(len, bodies)) // len(bodies),
        started=f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        machine=f"{platform.system()} {platform.machine()}, {n_cores()} cores",
        n_cores=n_cores(),
    )


_HEADER = " ".join(
    f"{name:>{width}}"
    for name, width in (
        ("load", 12),
        ("answers/s", 10),
        ("p50 ms", 8),
        ("p95 ms", 8),
        ("p99 ms", 8),
        ("errors", 7),
        ("client CPU", 11),
    )
)


def _line(level: "Level") -> str:
    load = f"{level.load:g}{'/s' if level.is_open else ' at once'}"
    cells = (level.percentile_ms(q) for q in (50, 95, 99))
    latencies = " ".join(f"{'-' if ms is None else format(ms, '.1f'):>8}" for ms in cells)
    errors, cpu = level.n_errors, f"{100 * level.client_cores:.0f} %"
    return f"{load:>12} {level.throughput:>10.1f} {latencies} {errors:>7} {cpu:>11}"


def _conclude(levels: list["Level"]) -> int:
    from tellapart.loadtest.figures import all_errors, saturation

    errors = all_errors(levels)
    if errors:
        tell("errors  " + ", ".join(f"{n} × {what}" for what, n in errors.items()))
    best = saturation(levels)
    if not best.n_answered:
        raise ServiceError("no request was answered; the errors above say why")
    kind, p99 = "a second" if best.is_open else "at once", best.percentile_ms(99)
    tell(f"best    {best.throughput:.1f} answers/s from {best.load:g} {kind} on, p99 {p99:.1f} ms")
    return 0
