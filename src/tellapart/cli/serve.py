"""`tellapart serve`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tellapart.cli.terminal import tell
from tellapart.errors import ConfigError

if TYPE_CHECKING:
    from tellapart.serving.settings import Settings


def serve(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="A bundle or run folder; several as NAME=PATH."),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine with --keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes behind the one port.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Engine threads in each; default shares the cores.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "int8"] | None, typer.Option(help="int8 serves what `export --precision int8` made.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keys, stored hashed; needed beyond this machine.")
    ] = None,
    new_key: Annotated[bool, typer.Option("--new-key", help="Add a key to FILE and print it, once.")] = False,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="No keys; on this machine only.")] = False,
    behind_gateway: Annotated[
        bool, typer.Option("--behind-gateway", help="No keys: a gateway, the only way in, asks for its own.")
    ] = False,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="A further name that clients use for this service; repeatable.")
    ] = None,
    rate_limit: Annotated[float | None, typer.Option(help="Requests per second and key.")] = None,
    max_body_mb: Annotated[float, typer.Option(help="Of one request.")] = 10,
    max_pixels_mp: Annotated[float, typer.Option(help="Megapixels of one image.")] = 25,
    max_images: Annotated[int, typer.Option(help="In one request.")] = 32,
    max_batch: Annotated[int | None, typer.Option(min=1, help="Images per call of the engine.")] = None,
    max_wait_ms: Annotated[float, typer.Option(help="That a call waits for more images.")] = 0,
    queue_size: Annotated[int, typer.Option(help="Images that may wait; more are refused with 503.")] = 64,
    timeout_s: Annotated[float, typer.Option(help="From a request's first byte to its answer.")] = 30,
    drain_s: Annotated[float, typer.Option(help="From 'not ready' to the end, when told to stop.")] = 5,
    allow_urls: Annotated[bool, typer.Option("--allow-urls", help="Take images by http(s) address.")] = False,
    url_host: Annotated[list[str] | None, typer.Option(help="Only from this host; repeatable.")] = None,
    url_port: Annotated[
        list[int] | None, typer.Option(help="Only from this port; repeatable; default 80 and 443.")
    ] = None,
    allow_private_urls: Annotated[
        bool, typer.Option("--allow-private-urls", help="Also from private addresses: intranets, tests.")
    ] = False,
) -> int:
    """Answer over HTTP what images show, until Ctrl-C: a page at /, the API at /docs; needs no torch."""
    from tellapart.serving.settings import Settings
    from tellapart.serving.supervisor import serve as run

    _check_keys(host, keys, new_key=new_key, no_auth=no_auth or behind_gateway, gateway=behind_gateway)
    if not allow_urls and (url_host or url_port or allow_private_urls):
        raise ConfigError("--url-host, --url-port and --allow-private-urls say which; add --allow-urls")
    settings = Settings(
        models=_named(models),
        precision=precision,
        host=host,
        port=port,
        workers=workers,
        threads=threads,
        keys_file=keys,
        behind_gateway=behind_gateway,
        allowed_hosts=tuple(allowed_host or ()),
        max_body_bytes=_millions("--max-body-mb", max_body_mb),
        max_pixels=_millions("--max-pixels-mp", max_pixels_mp),
        max_images=max_images,
        max_batch=max_batch or Settings.max_batch,
        max_wait_ms=max_wait_ms,
        queue_size=queue_size,
        request_timeout_s=timeout_s,
        drain_s=drain_s,
        rate_per_s=rate_limit,
        url_scoring=allow_urls,
        url_hosts=tuple(url_host or ()),
        url_ports=tuple(url_port or Settings.url_ports),
        url_allow_private=allow_private_urls,
    )
    if keys is not None:
        _open_keys(keys, new_key=new_key)
    return run(settings, on_ready=lambda url: _announce(settings, url))


def _check_keys(host: str, keys: Path | None, *, new_key: bool, no_auth: bool, gateway: bool) -> None:
    from tellapart.data.addresses import is_loopback

    if keys is not None and no_auth:
        other = "--behind-gateway" if gateway else "--no-auth"
        raise ConfigError(f"--keys and {other} contradict each other; give one of them")
    if new_key and keys is None:
        raise ConfigError("--new-key needs a file to keep the key in: --keys FILE --new-key")
    if keys is None and not is_loopback(host) and not gateway:
        raise ConfigError(
            f"without keys, anybody who reaches {host} could use this service, so it is refused; "
            f"`tellapart serve MODEL --host {host} --keys FILE --new-key` makes a key and prints it once"
        )


def _open_keys(path: Path, *, new_key: bool) -> None:
    """Add a key if asked to; a service that nobody could ask is refused."""
    from tellapart.serving.keys import Keys

    keys = Keys.open(path)
    if new_key:
        id, key = keys.create()
        tell(f"key {id}: {key}")
        tell(f"It is not shown again; {path} keeps only its hash. Send it as `Authorization: Bearer KEY`.")
    elif not keys.ids():
        raise ConfigError(f"there are no keys in {path}; add --new-key to make one and print it once")


def _named(models: Sequence[str]) -> dict[str, Path]:
    """Return name -> path from PATH and NAME=PATH."""
    named: dict[str, Path] = {}
    for model in models:
        name, separator, path = model.partition("=")
        if not separator or Path(model).exists():
            name, path = _name(Path(model)), model
        if name in named:
            raise ConfigError(f"two models are called {name}; name them: NAME={named[name]} OTHER={path}")
        named[name] = Path(path)
    return named


def _name(path: Path) -> str:
    """Return a run folder's name, also for a bundle inside one, such as ``photos`` for ``photos/model``."""
    folder = path.resolve()
    name = folder.parent.name if folder.name.startswith("model") and folder.parent.name else folder.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-") or "model"


def _millions(option: str, value: float) -> int:
    if not 0 < value < 1e6:
        raise ConfigError(f"{option} is {value:g}; it must be more than 0")
    return max(1, round(1_000_000 * value))


def _announce(settings: "Settings", url: str) -> None:
    who = "with a key" if settings.keys_file is not None else "from this machine, without a key"
    tell(f"serving {', '.join(settings.models)} at {url} ({who}); try it there, the API is at {url}/docs")
