"""`tellapart fetch search`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli.fetch_outcome import fill, resumable, show_result
from tellapart.cli.options import listed, short_edge_px
from tellapart.cli.terminal import Bars, printable, tell
from tellapart.errors import ConfigError

if TYPE_CHECKING:
    from tellapart.sources.queries import Query
    from tellapart.sources.search import Source
    from tellapart.sources.session import Session

_SERVICES = ("openverse", "commons")
_POLITE_CONNECTIONS = 4  # Wikimedia answers bursts with 429


def search(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder, or one to go on with.")],
    queries: Annotated[
        Path,
        typer.Option(metavar="FILE", help="JSON: class name to a list of texts, image addresses or folders."),
    ],
    per_class: Annotated[int, typer.Option("--per-class", min=1, metavar="N", help="Images wanted.")] = 100,
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,NAME", help="Where texts are searched, of openverse and commons."),
    ] = None,
    licence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Of images found by texts; default CC-0,PDM,CC-BY,CC-BY-SA, free for every use.",
        ),
    ] = None,
    size: Annotated[
        str, typer.Option(metavar="full|PIXELS", help="PIXELS scales the short edge on arrival.")
    ] = "full",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is, and load nothing.")] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Ask servers of this machine or network too.")
    ] = False,
    openverse: Annotated[str | None, typer.Option(metavar="URL", hidden=True)] = None,
    commons: Annotated[str | None, typer.Option(metavar="URL", hidden=True)] = None,
) -> int:
    """Download openly licensed images that texts find, and your own, into class folders.

    The same command goes on where it was interrupted; with a larger N it adds to what is there.
    """
    from tellapart.sources.licences import OPEN_LICENCES, licence_name
    from tellapart.sources.queries import read_queries
    from tellapart.sources.session import CONNECTIONS, Session

    names = _services(listed(source) or ["openverse"])
    licences = tuple(dict.fromkeys(map(licence_name, listed(licence)))) or OPEN_LICENCES
    edge_px = short_edge_px(size, ("full",))
    plan = read_queries(queries)
    request = {
        "queries": _as_json(plan),
        "sources": ", ".join(names),
        "licences": ", ".join(licences),
        "size": size,
        **({"allow-private": "yes"} if allow_private else {}),
    }
    connections = _POLITE_CONNECTIONS if "commons" in names else CONNECTIONS
    with resumable(), Session(allow_private=allow_private, connections=connections) as session:
        sources = _open(names, session, licences, edge_px, {"openverse": openverse, "commons": commons})
        if dry_run:
            _show_plan(plan, sources, per_class)
            return 0
        return _fetch(out, plan, sources, session, per_class, edge_px, request)


def _fetch(
    out: Path,
    plan: Mapping[str, Sequence["Query"]],
    sources: Sequence["Source"],
    session: "Session",
    per_class: int,
    edge_px: int | None,
    request: Mapping[str, str],
) -> int:
    from tellapart.sources.collection import Collection
    from tellapart.sources.download import Order, fetch_class
    from tellapart.sources.search import Search

    with Collection(out, request) as collection:
        images = Search(sources, {id: label for label in plan for id in collection.arrived(label)})
        fetched, summary = fill(
            collection,
            (
                fetch_class(
                    session,
                    collection,
                    Order(label, per_class, edge_px),
                    images.candidates(label, queries),
                    allow_files=any(query.kind == "folder" for query in queries),
                    progress=Bars(),
                )
                for label, queries in plan.items()
            ),
            f"Images of {', '.join(plan)}",
            f"Found by texts in {' and '.join(source.name for source in sources)}, "
            "at addresses and in folders: the column service says where each is from.",
        )
    return show_result(
        collection,
        fetched,
        summary,
        passed_over=images.passed_over,
        failures=images.failures,
        advice="ask for fewer, or give it more queries, sources or licences",
    )


def _services(names: Sequence[str]) -> list[str]:
    for name in names:
        if name not in _SERVICES:
            raise ConfigError(f"no source is called {name!r}; accepted: {', '.join(_SERVICES)}, or both")
    return list(dict.fromkeys(names))


def _open(
    names: Sequence[str],
    session: "Session",
    licences: Sequence[str],
    edge_px: int | None,
    addresses: Mapping[str, str | None],
) -> list["Source"]:
    from tellapart.sources import commons, openverse

    opened: list[Source] = []
    for name in names:
        if name == "commons":
            api = addresses["commons"] or commons.API
            opened.append(commons.Commons(session, licences, api=api, edge_px=edge_px))
        else:
            # Openverse has the images of Commons too; asked for twice, they would come twice.
            excluded = ("wikimedia",) if "commons" in names else ()
            api = addresses["openverse"] or openverse.API
            opened.append(openverse.Openverse(session, licences, api=api, excluded=excluded))
    return opened


def _show_plan(plan: Mapping[str, Sequence["Query"]], sources: Sequence["Source"], per_class: int) -> None:
    from tellapart.data.scan import images_below

    for label, queries in plan.items():
        tell(f"{printable(label)}: {per_class} wanted")
        for query in queries:
            if query.kind == "text":
                there = "; ".join(
                    f"about {source.count(query.text):,} in {source.name}" for source in sources
                )
            elif query.folder is not None:
                there = f"{len(images_below(query.folder)):,} images"
            else:
                there = "1 image"
            tell(f"  {query.kind:<7}  {printable(query.text)}  ({there})")


def _as_json(plan: Mapping[str, Sequence["Query"]]) -> str:
    queries = {label: [query.text for query in queries] for label, queries in plan.items()}
    return json.dumps(queries, ensure_ascii=False)
