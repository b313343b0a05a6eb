"""`tellapart fetch`: images from an archive or from a search, with their licences."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli.fetch_outcome import fill, resumable, show_result
from tellapart.cli.fetch_search import search
from tellapart.cli.options import listed, short_edge_px
from tellapart.cli.terminal import Bars, printable, tell
from tellapart.errors import ConfigError

if TYPE_CHECKING:
    from tellapart.sources.collection import Collection
    from tellapart.sources.isic import Archive
    from tellapart.sources.isic_plan import Diagnosis, Offer, Plan

app = typer.Typer(
    help="Download images sorted by class, with a manifest, their licences and who to name.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command()(search)


@app.command()
def isic(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder, or one to go on with.")],
    per_class: Annotated[int, typer.Option("--per-class", min=1, metavar="N", help="Images wanted.")] = 100,
    classes: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,NAME", help="Diagnoses of any level; default Benign,Malignant."),
    ] = None,
    image_type: Annotated[
        str, typer.Option("--image-type", help="Such as 'clinical: close-up'; any for all of them.")
    ] = "dermoscopic",
    licence: Annotated[
        list[str] | None, typer.Option(metavar="NAME,NAME", help="Of CC-0, CC-BY, CC-BY-NC; default all.")
    ] = None,
    query: Annotated[
        str, typer.Option(help="A further condition, as in 'age_approx:[20 TO 40] AND sex:female'.")
    ] = "",
    collection: Annotated[
        list[str] | None, typer.Option(metavar="ID,ID", help="Only of these of the archive's collections.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which of all the images are taken.")] = 0,
    max_per_lesion: Annotated[
        int | None, typer.Option("--max-per-lesion", min=1, help="Photographs of one lesion.")
    ] = None,
    size: Annotated[
        str, typer.Option(metavar="full|thumbnail|PIXELS", help="PIXELS scales the short edge on arrival.")
    ] = "full",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is, and load nothing.")] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Ask servers of this machine or network too.")
    ] = False,
    api: Annotated[
        str | None, typer.Option(metavar="URL", help="Of another archive that speaks the same API.")
    ] = None,
) -> int:
    """Download a balanced sample of the ISIC Archive into class folders; the same command goes on."""
    from tellapart.sources.class_folder import check_distinct
    from tellapart.sources.collection import Collection
    from tellapart.sources.download import Order, fetch_class
    from tellapart.sources.isic import API, Archive
    from tellapart.sources.isic_plan import Plan
    from tellapart.sources.session import Session

    resize_px = short_edge_px(size, ("full", "thumbnail"))
    plan = Plan(
        image_type=None if image_type == "any" else image_type,
        licences=tuple(name.upper().replace("CC0", "CC-0") for name in listed(licence)),
        query=query,
        collections=tuple(map(_number, listed(collection))),
        seed=seed,
        thumbnails=size == "thumbnail",
    )
    with resumable(), Session(allow_private=allow_private) as session:
        archive = Archive(session, api or API)
        archive.check(plan)
        found = archive.diagnoses(classes or ["Benign", "Malignant"])
        check_distinct(diagnosis.name for diagnosis in found)
        offers = [archive.offer(plan, diagnosis) for diagnosis in found]
        _show_offers(offers, per_class)
        _refuse_empty(offers)
        if dry_run:
            return 0
        texts = _licence_texts(archive, offers)
        request = _request(api or API, plan, found, size, max_per_lesion)
        at_most = None if max_per_lesion is None else (max_per_lesion, "lesion_id")
        orders = [Order(diagnosis.name, per_class, resize_px, at_most) for diagnosis in found]
        with Collection(out, request) as opened:
            if resize_px is None:
                _check_space(opened, offers, per_class)
            fetched, summary = fill(
                opened,
                (
                    fetch_class(session, opened, order, archive.candidates(plan, of), progress=Bars())
                    for order, of in zip(orders, found, strict=True)
                ),
                "A sample of the ISIC Archive",
                "Images of the International Skin Imaging Collaboration (https://www.isic-archive.com).",
                texts,
            )
        return show_result(opened, fetched, summary, advice="loosen the conditions, or ask for fewer")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"--collection {text!r} is not a number; give ids as on the archive's own pages")
    return int(text)


def _request(
    api: str, plan: "Plan", classes: Sequence["Diagnosis"], size: str, max_per_lesion: int | None
) -> dict[str, str]:
    """Say what decides which images a folder gets; how many are wanted may change from run to run."""
    asked = {
        "archive": api,
        "classes": "; ".join(diagnosis.name for diagnosis in classes),
        "condition": plan.filter,
        "collections": ", ".join(map(str, plan.collections)),
        "max-per-lesion": str(max_per_lesion or ""),
        "seed": str(plan.seed),
        "size": size,
    }
    return {name: value for name, value in asked.items() if value}


def _refuse_empty(offers: Sequence["Offer"]) -> None:
    for offer in offers:
        if not offer.n_images:
            raise ConfigError(
                f"no image of {offer.diagnosis.name!r} fulfils these conditions; loosen them "
                "(--image-type any, --licence, --query, --collection)"
            )


def _check_space(collection: "Collection", offers: Sequence["Offer"], n: int) -> None:
    n_bytes = 0.0
    for offer in offers:
        missing = min(n, offer.n_images) - len(collection.arrived(offer.diagnosis.name))
        n_bytes += max(missing, 0) * offer.bytes_per_image
    if n_bytes:
        collection.check_space(int(n_bytes))


def _licence_texts(archive: "Archive", offers: Sequence["Offer"]) -> dict[str, str]:
    from tellapart.sources.session import Refused, Unavailable

    texts = {}
    for name in sorted({name for offer in offers for name, n in offer.licences.items() if n}):
        try:
            texts[name] = archive.licence_text(name)
        except (Refused, Unavailable) as exc:
            Bars().say(
                f"warning: the text of {name} cannot be had ({exc}); its address is written down instead"
            )
    return texts


def _show_offers(offers: Sequence["Offer"], n: int) -> None:
    width = max(len("class"), *(len(offer.diagnosis.name) for offer in offers))
    tell(f"{'class':<{width}}  {'there are':>10}  {'wanted':>7}  {'to load':>8}  licences")
    for offer in offers:
        to_load = _bytes(min(n, offer.n_images) * offer.bytes_per_image)
        licences = ", ".join(f"{name} {count:,}" for name, count in offer.licences.items() if count)
        tell(
            f"{printable(offer.diagnosis.name):<{width}}  {offer.n_images:>10,}  {n:>7,}  "
            f"{to_load:>8}  {licences}"
        )
    for offer in offers:
        if offer.n_images < n:
            Bars().say(f"warning: there are fewer images of {printable(offer.diagnosis.name)!r} than wanted")


def _bytes(n: float) -> str:
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if n < 1000:
            break
        n, unit = n / 1000, larger
    return f"{n:.0f} {unit}"
