"""Lists of images as pages look at them: each stays as it was until it is asked for anew."""

import secrets
from collections import OrderedDict
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import StaleList
from tellapart.studio.catalog import Catalog
from tellapart.studio.query import Query

MOST_LISTS = 24
"""Lists that are kept; the one that nobody has looked at for longest goes first."""


class Lists:
    """Orders of a catalog's images, each known by its query and a stamp; safe for several threads at once.

    Only what a page shows is kept here, so that a list goes when many other ones have been looked at, and
    never because something was counted.

    Parameters
    ----------
    catalog
        Whose images they are.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = Lock()
        self._kept: OrderedDict[tuple[Query, str], NDArray[np.int64]] = OrderedDict()
        # Another studio's stamps say nothing here.
        self._edition = secrets.token_hex(4)

    def open(self, query: Query, stamp: str = "") -> tuple[str, NDArray[np.int64]]:
        """Return the list of that stamp if it is still kept, else the query's as it is now, with its stamp.

        Do not write to it.
        """
        self._catalog.refresh()
        with self._lock:
            if (query, stamp) not in self._kept:
                stamp = ".".join(map(str, (self._edition, *self._catalog.state)))
            if (query, stamp) not in self._kept:
                self._kept[query, stamp] = self._catalog.select(query)
                while len(self._kept) > MOST_LISTS:
                    self._kept.popitem(last=False)
            self._kept.move_to_end((query, stamp))
            return stamp, self._kept[query, stamp]

    def known(self, query: Query, stamp: str) -> NDArray[np.int64]:
        """Return the list of that stamp, whose places somebody means to change.

        Raises
        ------
        StaleList
            If it is no longer kept: another list has other images in the same places.
        """
        with self._lock:
            if (query, stamp) not in self._kept:
                raise StaleList(
                    "this list of images is no longer known to the studio, which may have been started anew; "
                    "load it again, and choose again"
                )
            self._kept.move_to_end((query, stamp))
            return self._kept[query, stamp]
