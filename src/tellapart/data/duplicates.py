"""Near-duplicates: copies that were re-encoded, resized, slightly cropped, turned, mirrored or brightened.

Pairs are proposed by low frequencies (`spectra`), then laid on one another and compared (`alignment`).
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.data.alignment import similarity
from tellapart.data.cache import ContentCache
from tellapart.data.embedding import default_network
from tellapart.data.neighbours import NEIGHBOURS
from tellapart.data.spectra import EDGE, WINDOWS, Candidates, Search, turned
from tellapart.data.splits import connected
from tellapart.data.survey import Reading, survey
from tellapart.errors import MissingExtra, WeightsError
from tellapart.progress import SILENT, Progress

if TYPE_CHECKING:
    from tellapart.data.dataset import Dataset

DESCRIPTOR_VERSION = 2
"""Raised whenever `describe` gives other bytes, so that old descriptors are not used."""

SEARCH_VERSION = 2
"""Raised whenever `find` gives other pairs of the same descriptors."""

DESCRIPTOR_LENGTH = EDGE * EDGE
"""Bytes of a descriptor: a grey picture of 32 x 32."""

THRESHOLD = 0.95
"""Least similarity of near-duplicates.

Chosen on `recycling` and `ham10000` (see benchmarks/README.md). Crops by a tenth of each edge and JPEGs of
quality 15 keep 0.95 in 95 to 99 of 100 cases, milder copies more. Among the 17.9 million pairs of originals
of `ham10000` two reach it, which are two photographs of one lesion each; the next, at 0.947, are two lesions.
"""

LEAST_CONTRAST = 1.5
"""Standard deviation of a picture, of 255 grey levels, below which nothing can be told by what it shows."""


AT_ONCE = 2**14
"""Pairs whose pictures are held at a time, which bounds memory where very many look alike."""


class NearPair(NamedTuple):
    """Two images, by their ids, that show the same, and how similar they are, in (0, 1]."""

    first: str
    second: str
    similarity: float


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Which images are near-duplicates of which.

    Attributes
    ----------
    n_images
        How many were compared.
    pairs
        int64 of shape (n_pairs, 2): positions of two images, the smaller first; sorted. In a large cluster
        not every pair need be listed, but enough to connect it.
    similarity
        float32 of shape (n_pairs,), in (0, 1]: correlation of the two pictures, aligned; 1 for equal pixels.
    """

    n_images: int
    pairs: NDArray[np.int64]
    similarity: NDArray[np.float32]

    @cached_property
    def cluster_of(self) -> NDArray[np.int64]:
        """int64 of shape (n_images,): position of the first image of each one's cluster; alone its own."""
        return connected(self.pairs, self.n_images)

    @cached_property
    def clusters(self) -> list[tuple[int, ...]]:
        """Clusters of two images or more, as sorted positions; in order of their first."""
        members: dict[int, list[int]] = defaultdict(list)
        for image, leader in enumerate(self.cluster_of.tolist()):
            members[leader].append(image)
        return [tuple(members[leader]) for leader in sorted(members) if len(members[leader]) > 1]


def describe(image: Image.Image) -> NDArray[np.uint8]:
    """Return a small picture by which copies of an image are found.

    Parameters
    ----------
    image
        Decoded, upright, RGB, of any size.

    Returns
    -------
    uint8 of shape (DESCRIPTOR_LENGTH,); its ``tobytes()`` is what `DESCRIPTOR` keeps.
    """
    small = image.convert("L").resize((EDGE, EDGE), Image.Resampling.BOX)
    return np.asarray(small).reshape(-1).copy()


DESCRIPTOR = Reading(f"descriptors-{DESCRIPTOR_VERSION}", lambda content, image: describe(image).tobytes())
"""What a pass over the files keeps for the search."""


def find(
    descriptors: NDArray[np.uint8],
    *,
    embeddings: NDArray[np.float32] | None = None,
    threshold: float = THRESHOLD,
) -> Duplicates:
    """Find the near-duplicates among many images.

    Parameters
    ----------
    descriptors
        uint8 of shape (n_images, DESCRIPTOR_LENGTH), from `describe`. A row of zeros (an image that could
        not be read) or of any one value (a picture without structure) is like no other.
    embeddings
        float32 of shape (n_images, n_features): features of any network, which propose more pairs to look at.
    threshold
        Least similarity of a pair.

    Returns
    -------
    Duplicates
        With positions into `descriptors`.
    """
    distinct, representative_of = _distinct(descriptors)
    pictures = descriptors[distinct].reshape(-1, EDGE, EDGE).astype(np.float32)
    alike, value = _alike(pictures, None if embeddings is None else embeddings[distinct], threshold)
    same = np.flatnonzero((representative_of >= 0) & (representative_of != np.arange(len(descriptors))))
    equal = np.stack([representative_of[same], same], axis=1)
    pairs = np.sort(np.concatenate([equal, distinct[alike]]), axis=1)
    values = np.concatenate([np.ones(len(equal), np.float32), np.minimum(value, 1)])
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return Duplicates(len(descriptors), pairs[order], values[order])


def _alike(
    pictures: NDArray[np.float32], embeddings: NDArray[np.float32] | None, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the pairs of different pictures, of shape (n_pairs, 2), and their similarity.

    A picture's nearest may all be copies of it, and hide those that are less near. So once these are known
    to belong together, what has more of them than a search gives is searched for among the others, until
    nothing more joins.
    """
    from threadpoolctl import threadpool_limits

    pairs, values = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    asking = cluster_of = np.arange(len(pictures))
    with threadpool_limits(1, "blas"):  # the work is on threads already, as many as there are cores
        search = Search(pictures, embeddings)
        while len(asking):
            found = search.candidates(asking, cluster_of)
            value = _compared(pictures, found)
            alike = value >= threshold
            pairs.append(np.stack([found.first[alike], found.second[alike]], axis=1))
            values.append(value[alike])
            cluster_of = connected(np.concatenate(pairs), len(pictures))
            crowded = np.bincount(cluster_of, minlength=len(pictures))[cluster_of] > NEIGHBOURS
            asking = np.flatnonzero(crowded) if alike.any() else asking[:0]
    return np.concatenate(pairs), np.concatenate(values)


def _compared(pictures: NDArray[np.float32], found: Candidates) -> NDArray[np.float32]:
    """Return the similarity of each pair, laid on one another."""
    starts = _starts(found)
    values = [np.empty(0, np.float32)]
    for begin in range(0, len(found.first), AT_ONCE):
        some = slice(begin, begin + AT_ONCE)
        moving, fixed = pictures[found.first[some]], pictures[found.second[some]]
        values.append(similarity(moving, turned(fixed, found.symmetry[some]), starts[some]))
    return np.concatenate(values)


def find_once(descriptors: NDArray[np.uint8], *, embeddings: NDArray[np.float32] | None = None) -> Duplicates:
    """Return what `find` says of exactly these arrays, from the cache if it was asked before."""
    cache = ContentCache(f"near-duplicates-{DESCRIPTOR_VERSION}-{SEARCH_VERSION}")
    question = hashlib.sha256(descriptors.tobytes())
    if embeddings is not None:
        question.update(embeddings.tobytes())
    asked = question.hexdigest()
    known = cache.get([asked]).get(asked)
    if known is None:
        found = find(descriptors, embeddings=embeddings)
        record = np.empty(len(found.pairs), _RECORD)
        record["pair"], record["similarity"] = found.pairs, found.similarity
        cache.put([(asked, record.tobytes())])
        return found
    record = np.frombuffer(known, _RECORD)
    return Duplicates(len(descriptors), record["pair"].astype(np.int64), record["similarity"].copy())


def find_in(dataset: "Dataset", *, progress: Progress = SILENT) -> tuple[Duplicates, str]:
    """Find the near-duplicates of a dataset, with features of the default network where they can be had.

    Returns
    -------
    duplicates
        With positions in the dataset; what cannot be read is like nothing.
    alone
        Why there were no features; empty where there were.
    """
    alone = ""
    try:
        found = survey(dataset, (DESCRIPTOR,), default_network(), stage="comparing", progress=progress)
    except (MissingExtra, WeightsError) as exc:
        alone = str(exc)
        found = survey(dataset, (DESCRIPTOR,), stage="comparing", progress=progress)
    among = find_once(found.rows(DESCRIPTOR), embeddings=found.features)
    readable = {sample.id for sample in found.dataset.samples}
    place = np.flatnonzero([sample.id in readable for sample in dataset.samples])
    return replace(among, n_images=len(dataset), pairs=place[among.pairs]), alone


_RECORD = np.dtype([("pair", "<i8", 2), ("similarity", "<f4")])


def _distinct(descriptors: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first image of each picture that shows something, and each image's first, else -1."""
    shown = np.flatnonzero(descriptors.std(axis=1) >= LEAST_CONTRAST)
    _, first, group = np.unique(descriptors[shown], axis=0, return_index=True, return_inverse=True)
    representative_of = np.full(len(descriptors), -1, np.int64)
    representative_of[shown] = shown[first[group]]
    return np.sort(shown[first]), representative_of


def _starts(found: Candidates) -> NDArray[np.float32]:
    """Return each pair's window as an affine map of shape (2, 3)."""
    maps = []
    for (top, bottom), (left, right) in WINDOWS:
        maps.append([[right - left, 0, left + right - 1], [0, bottom - top, top + bottom - 1]])
    return np.array(maps, np.float32)[found.window]


def clusters_by_id(pairs: Sequence[NearPair]) -> dict[str, str]:
    """Return the cluster of each image that is in a pair, called by the cluster's first id."""
    names = sorted({name for pair in pairs for name in pair[:2]})
    position = {name: i for i, name in enumerate(names)}
    edges = np.array([[position[name] for name in pair[:2]] for pair in pairs], np.int64).reshape(-1, 2)
    leaders = connected(edges, len(names)).tolist()
    return {name: names[leader] for name, leader in zip(names, leaders, strict=True)}
