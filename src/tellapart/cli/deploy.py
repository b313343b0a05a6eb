"""`tellapart deploy`: named services that live on."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tellapart.cli.options import image_paths
from tellapart.cli.terminal import Bars, printable, tell
from tellapart.errors import ConfigError, ServiceError

if TYPE_CHECKING:
    from tellapart.deploy.deployment import Deployment
    from tellapart.deploy.figures import Figures
    from tellapart.deploy.target import Status

app = typer.Typer(
    help="Named services that live on: create one from a model, then ask, scale, update and delete it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The deployment.")]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle or a run folder.")]
Key = Annotated[str | None, typer.Option(metavar="KEY", help="Default $TELLAPART_KEY.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits, hyphens.")],
    model: Model,
    target: Annotated[Literal["local", "ray"], typer.Option(help="Where it runs.")] = "local",
    replicas: Annotated[int, typer.Option(help="Worker processes, or replicas.")] = 1,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: a free one from 8000 up.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of one of that name.")] = False,
    auth: Annotated[bool, typer.Option("--auth/--no-auth", help="Ask for keys.")] = True,
    address: Annotated[str | None, typer.Option(help="Of the Ray cluster.")] = None,
    max_replicas: Annotated[int | None, typer.Option(min=1, help="Ray may scale up to so many.")] = None,
    cpus: Annotated[float | None, typer.Option(help="That Ray reserves for each replica.")] = None,
    precision: Annotated[Literal["fp32", "int8"] | None, typer.Option(help="Of a run's model.")] = None,
    urls: Annotated[bool, typer.Option("--allow-urls", help="Score images by web address too.")] = False,
    url_hosts: Annotated[
        list[str] | None, typer.Option("--url-host", metavar="HOST", help="Only of these; may be repeated.")
    ] = None,
    hosts: Annotated[
        list[str] | None,
        typer.Option("--allowed-host", metavar="NAME", help="Further name of this machine; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Serve MODEL as NAME until it is deleted; prints the key, once."""
    from tellapart.deploy.creation import deploy

    chosen: dict[str, Any] = {
        "host": host,
        "address": address,
        "max_replicas": max_replicas,
        "cpus": cpus,
        "precision": precision,
        "url_scoring": urls or None,
        "url_hosts": url_hosts,
        "allowed_hosts": hosts,
    }
    deployment = deploy(
        model,
        name,
        target=target,
        replicas=replicas,
        port=port,
        replace=replace,
        auth=auth,
        **{setting: value for setting, value in chosen.items() if value is not None},
    )
    if as_json:
        tell(json.dumps({"name": name, "url": deployment.url, "key": deployment.key}))
        return 0
    tell(f"url    {deployment.url}")
    if deployment.key:
        tell(f"key    {deployment.key}")
        tell("       shown this once; keep it, for example: export TELLAPART_KEY=…")
    return 0


@app.command("list")
def list_(as_json: AsJson = False) -> int:
    """Name every deployment and say how it is now."""
    from tellapart.deploy.deployment import deployments, statuses

    found = deployments()
    rows = [_facts(*pair) for pair in zip(found, statuses(found), strict=True)]
    if as_json:
        tell(json.dumps(rows, indent=2))
        return 0
    columns = ("name", "state", "target", "replicas", "url", "version", "created")
    _table([columns, *(tuple(str(row[column]) for column in columns) for row in rows)])
    for row in rows:
        if row["detail"]:
            tell(f"{row['name']}: {row['detail']}")
    return 0


@app.command()
def show(name: Name, key: Key = None, as_json: AsJson = False) -> int:
    """Say how one deployment is, what it has answered, and how far its images drift."""
    from tellapart.deploy.deployment import Deployment

    deployment = Deployment.find(name, key)
    facts = _facts(deployment, deployment.status())
    figures = None
    if facts["state"] == "ready":
        try:
            figures = deployment.figures()
        except ServiceError as exc:
            facts["detail"] = str(exc)
    if as_json:
        tell(json.dumps(facts | {"figures": figures and asdict(figures)}, indent=2))
        return 0
    shown = {**facts, "keys": ", ".join(facts["keys"]) or "none asked for"}
    _table([(label, str(value)) for label, value in shown.items() if value not in ("", None)])
    if figures:
        _table(_figure_rows(figures))
    return 0


@app.command()
def score(
    name: Name,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE_OR_URL...", help="Files, folders, or web addresses.")
    ],
    key: Key = None,
    format: Annotated[Literal["table", "json"], typer.Option("--format")] = "table",
) -> int:
    """Ask a deployment what IMAGEs show; needs a key, unless it was created with --no-auth."""
    from tellapart.deploy.deployment import Deployment

    paths = list(chain.from_iterable(map(image_paths, images)))
    answers = Deployment.find(name, key).score(paths, progress=Bars())
    if format == "json":
        tell(json.dumps([asdict(answer) for answer in answers], indent=2))
    else:
        width = max(len(answer.label or "-") for answer in answers)
        for answer in answers:
            source = printable(answer.source)
            if answer.probability is None:
                tell(f"{'-':<{width}}       -  {source}: {answer.error}")
            else:
                unsure = "  (a person is to decide)" if answer.abstained else ""
                tell(f"{answer.label:<{width}}  {answer.probability:6.1%}  {source}{unsure}")
    return 1 if any(answer.error for answer in answers) else 0


@app.command()
def keys(
    name: Name,
    new: Annotated[bool, typer.Option("--new", help="Make one more, and print it once.")] = False,
    revoke: Annotated[str | None, typer.Option(metavar="ID", help="Refuse a key from now on.")] = None,
    rotate: Annotated[
        str | None, typer.Option(metavar="ID", help="Replace a key; prints the new one.")
    ] = None,
) -> int:
    """List the keys of a deployment by their ids, or change one."""
    from tellapart.deploy.deployment import Deployment

    if sum((new, revoke is not None, rotate is not None)) > 1:
        raise ConfigError("--new, --revoke and --rotate are given together; give one of them")
    deployment = Deployment.find(name)
    if new:
        identifier, secret = deployment.new_key()
        tell(f"{identifier}  {secret}")
    elif rotate is not None:
        tell(f"{rotate}  {deployment.rotate_key(rotate)}")
    elif revoke is not None:
        deployment.revoke_key(revoke)
        tell(f"{revoke} is refused from now on")
    else:
        identifiers = deployment.keys()
        tell("\n".join(identifiers) if identifiers else "no key is accepted; --new makes one")
    return 0


@app.command()
def scale(name: Name, replicas: Annotated[int, typer.Argument(metavar="N")]) -> int:
    """Answer from N workers or replicas; no request fails."""
    from tellapart.deploy.deployment import Deployment

    Deployment.find(name).scale(replicas)
    tell(f"{name} has {replicas} {'replica' if replicas == 1 else 'replicas'}")
    return 0


@app.command()
def update(name: Name, model: Model) -> int:
    """Serve MODEL instead; no request fails, and a model that cannot answer changes nothing."""
    from tellapart.deploy.deployment import Deployment

    tell(f"{name} serves version {Deployment.find(name).update(model)}")
    return 0


@app.command()
def start(name: Name) -> int:
    """Start a deployment that is gone, after a restart of the machine for example."""
    from tellapart.deploy.deployment import Deployment

    deployment = Deployment.find(name)
    deployment.start()
    tell(f"url    {deployment.url}")
    return 0


@app.command()
def logs(
    name: Name, lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many.")] = 50
) -> int:
    """Print the last lines of a deployment's log."""
    from tellapart.deploy.deployment import Deployment

    for line in Deployment.find(name).logs(lines):
        tell(printable(line))
    return 0


@app.command()
def delete(
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Forget it also where its cluster cannot be reached.")
    ] = False,
) -> int:
    """Let requests in flight finish, stop a deployment and forget it."""
    from tellapart.deploy.deployment import Deployment

    Deployment.find(name).delete(force=force)
    tell(f"{name} is deleted")
    return 0


@app.command()
def files(
    model: Model,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder.")],
    name: Annotated[str, typer.Option(help="What the deployment is called there.")] = "tellapart",
    replicas: Annotated[int, typer.Option(min=1, help="At least.")] = 2,
    max_replicas: Annotated[int, typer.Option(min=1, help="At most, under load.")] = 10,
    image: Annotated[str | None, typer.Option(help="Its name, as in registry.example/lesions:1.")] = None,
) -> int:
    """Write files for containers, Kubernetes, KServe and Azure ML that serve MODEL."""
    from tellapart.deploy.files import add_key, write_files

    files = write_files(model, out, name=name, replicas=replicas, max_replicas=max_replicas, image=image)
    for path in files:
        tell(printable(str(path)))
    tell(f"key: {add_key(out)}")
    tell(f"It is not shown again: the files hold its hash. {out / 'README.md'} says what to type next.")
    return 0


def _facts(deployment: "Deployment", status: "Status") -> dict[str, Any]:
    record = deployment.record
    return {
        "name": record.name,
        "state": status.state,
        "detail": status.detail,
        "url": record.url,
        "target": record.target,
        "replicas": record.replicas,
        "model": record.model,
        "version": record.version,
        "pid": record.pid,
        "created": record.created,
        "keys": deployment.keys() if record.auth else (),
    }


def _figure_rows(figures: "Figures") -> Iterable[tuple[str, str]]:
    yield "requests", f"{figures.requests}, of them {figures.errors} refused or failed"
    if figures.mean_seconds is not None:
        yield "mean time", f"{1000 * figures.mean_seconds:.1f} ms"
    if figures.mean_confidence is not None:
        yield "confidence", f"{figures.mean_confidence:.3f} on average"
    for label, count in figures.predictions.items():
        yield "answered", f"{count} {printable(label)}"
    for measure, distance in figures.drift.items():
        yield "drift", f"{distance:.3f} {measure}"


def _table(rows: Iterable[Sequence[str]]) -> None:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        tell("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
