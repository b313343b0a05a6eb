"""The desk: everything that one studio has open."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tellapart.data.dataset import Dataset
from tellapart.data.journal import Journal
from tellapart.studio.alike import Alike
from tellapart.studio.arrivals import Arrivals
from tellapart.studio.catalog import Catalog
from tellapart.studio.jobs import Jobs, place_of
from tellapart.studio.lists import Lists
from tellapart.studio.shelf import Shelf
from tellapart.studio.thumbnails import Thumbnails
from tellapart.studio.verdicts import Verdicts


@dataclass(eq=False)
class Desk:
    """What one studio works on; shared by all its windows and threads.

    Attributes
    ----------
    data
        The folder or manifest that the user named, or that the run was trained on.
    given
        Its images, with the labels that the data give, before any correction.
    journal
        Of corrections; its file need not exist yet.
    actor
        Who decides.
    runs
        Folder in which runs lie, and new ones go; need not exist.
    run
        The run to show first, or None.
    others
        Further runs, to compare it with.
    examples
        Folder for images that were tried and answered wrongly, by class; need not exist.
    findings
        JSON file of ``tellapart check``, or None for the one that the studio keeps in the cache.
    read_only
        Nothing is written: no journal, no run, no example.
    keys
        Action -> key, where the user wants another one than `tellapart.studio.shortcuts.ACTIONS` has.
    catalog
        The images as a table: what the data say, what was decided, what was predicted and found.
    lists
        Of images, as pages look at them.
    verdicts
        What each reviewer answered.
    thumbnails
        Small pictures of the images, made when they are first asked for.
    shelf
        The runs that the studio knows.
    alike
        Which images are like which.
    arrivals
        What trainings and checks have finished.
    jobs
        Trainings and checks in the background, those of an earlier studio among them.

    Raises
    ------
    JournalError
        If the journal cannot be read, or is not as it was written.
    """

    data: Path
    given: Dataset
    journal: Journal
    actor: str
    runs: Path
    run: Path | None = None
    others: tuple[Path, ...] = ()
    examples: Path = Path("examples")
    findings: Path | None = None
    read_only: bool = False
    keys: Mapping[str, str] = field(default_factory=dict)
    catalog: Catalog = field(init=False)
    lists: Lists = field(init=False)
    verdicts: Verdicts = field(init=False)
    thumbnails: Thumbnails = field(init=False)
    shelf: Shelf = field(init=False)
    alike: Alike = field(init=False)
    arrivals: Arrivals = field(init=False)
    jobs: Jobs = field(init=False)

    def __post_init__(self) -> None:
        # All at once: two threads must never get two catalogs.
        self.catalog = Catalog(self.given, self.journal, self.actor)
        self.lists = Lists(self.catalog)
        self.verdicts = Verdicts(self.catalog)
        self.thumbnails = Thumbnails(self.given.samples)
        named = [*([self.run] if self.run else []), *self.others]
        self.shelf = Shelf(self.runs, named, {sample.id for sample in self.given.samples})
        self.alike = Alike(self.catalog)
        self.arrivals = Arrivals(self)
        self.jobs = Jobs(self.runs, place_of(self.data))
