"""Images that are like one another, by the features that trainings and checks have left in the cache."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.neighbours import Neighbours
from tellapart.bundle import SPLIT_FILE
from tellapart.data.cache import ContentCache, cache_folder
from tellapart.data.reader import chunked
from tellapart.studio.catalog import Catalog
from tellapart.studio.jobs import stamp
from tellapart.studio.shelf import StoredRun, read_split

N_NEAREST = 5
"""Images named beside one in doubt; as many as a check names."""

SKETCH = 128
"""Length of the sketches that all images are compared by: of 100,000 they take 50 MB, features 500."""

N_CANDIDATES = 256
"""Images most like by their sketches, of which the features are then compared."""

_AT_ONCE = 1000


class Alike:
    """Finds the images most like one of those that a run has seen; safe for several threads at once.

    No image is decoded and no network run, so that torch is not needed.

    Parameters
    ----------
    catalog
        Whose images they are.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = Lock()
        self._made: tuple[object, Features] | None = None

    def nearest(self, run: StoredRun, i: int) -> list[tuple[int, float]]:
        """Return the images most like image `i`, each with its cosine similarity, the most similar first.

        There are none where no features of it are at hand. Of 100,000 images the first call takes seconds.
        """
        with self._lock:
            state = (run.folder, stamp(run.folder / SPLIT_FILE))
            if self._made is None or self._made[0] != state:
                features = self._find(run)
                if features is None:
                    return []
                self._made = state, features
            return self._made[1].nearest(i, N_NEAREST)

    def _find(self, run: StoredRun) -> "Features | None":
        """Return the features of the images that a run has seen, from the first cache that knows any."""
        digests = {
            i: sha256
            for sample_id, (sha256,) in read_split(run.folder / SPLIT_FILE, "sha256").items()
            if sha256
            and (i := self._catalog.index(sample_id)) is not None
            and self._catalog.digests.known(i) in (None, sha256)
        }
        for name in _caches(run):
            if (cache_folder() / f"{name}.sqlite").is_file():
                found = Features(ContentCache(name), digests)
                if len(found):
                    return found
        return None


class Features:
    """Feature vectors of images, left where they are; sketches of them say where to look.

    A sketch is a random projection of the unit vector, which changes angles little (Johnson and
    Lindenstrauss, Contemporary Mathematics 26, 1984).

    Parameters
    ----------
    cache
        Holds float32 vectors by content hash.
    digests
        The content hash of each image by its number; images that are not in the cache are passed over.
    """

    def __init__(self, cache: ContentCache, digests: Mapping[int, str]) -> None:
        self._cache, self._digests = cache, digests
        numbers: list[int] = []
        sketches: list[NDArray[np.float32]] = []
        for some in chunked(list(digests), _AT_ONCE):
            if known := self._vectors(some):
                unit = Neighbours(np.stack(list(known.values()))).unit
                sketches.append(unit @ _axes(unit.shape[1]))
                numbers += known
        self._place = {i: place for place, i in enumerate(numbers)}
        self._numbers = np.array(numbers, dtype=np.int64)
        self._sketches = np.concatenate(sketches) if sketches else np.empty((0, SKETCH), np.float32)

    def __len__(self) -> int:
        return len(self._numbers)

    def nearest(self, i: int, k: int) -> list[tuple[int, float]]:
        """Return the `k` images most like image `i` and their similarities; none if it has no features."""
        if i not in self._place:
            return []
        roughly = self._sketches @ self._sketches[self._place[i]]
        roughly[self._place[i]] = np.inf
        best = np.argpartition(-roughly, min(N_CANDIDATES, len(self) - 1))[: N_CANDIDATES + 1]
        vectors = self._vectors(self._numbers[best].tolist())
        if i not in vectors:  # the cache has been emptied
            return []
        names = list(vectors)
        found, similarity = Neighbours(np.stack(list(vectors.values()))).nearest(
            np.array([names.index(i)]), k
        )
        return [(names[row], float(s)) for row, s in zip(found[0].tolist(), similarity[0], strict=True)]

    def _vectors(self, numbers: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """Return image -> its vector, as far as they are known."""
        known = self._cache.get([self._digests[i] for i in numbers])
        here = ((i, known.get(self._digests[i])) for i in numbers)
        return {i: np.frombuffer(value, dtype="<f4") for i, value in here if value is not None}


@lru_cache(maxsize=1)
def _axes(n_features: int) -> NDArray[np.float32]:
    """Return what vectors are projected on, float32 of shape (n_features, SKETCH)."""
    return np.random.default_rng(0).standard_normal((n_features, SKETCH), dtype=np.float32)


def _caches(run: StoredRun) -> Iterator[str]:
    """Yield the names of the caches to look in: of the run's own network, then of the check's."""
    from importlib.metadata import PackageNotFoundError

    from tellapart.data.images import Resize
    from tellapart.training.backbones import find_backbone
    from tellapart.training.config import TrainConfig
    from tellapart.training.features import feature_cache_name, network_key

    known = {name: run.config[name] for name in ("backbone", "weights", "seed") if name in run.config}
    usual = TrainConfig()
    asked = [(usual, Resize(find_backbone(usual.backbone).image_size, usual.fit))]
    if run.card is not None:
        asked.insert(0, (TrainConfig(**known), run.card.preprocessing))
    try:
        for config, resize in asked:
            yield feature_cache_name(network_key(config, resize.size), resize)
    except PackageNotFoundError:
        return  # the names hold the versions of torch and its companions, which are not installed
