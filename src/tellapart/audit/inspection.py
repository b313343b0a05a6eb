"""What a check knows of single images: how they look, what finds their copies, and a network's features."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.looks import LOOK, Look
from tellapart.data.dataset import Dataset
from tellapart.data.duplicates import DESCRIPTOR
from tellapart.data.embedding import Network
from tellapart.data.survey import CHUNK, survey
from tellapart.progress import SILENT, Progress


@dataclass(frozen=True, eq=False)
class Inspection:
    """What one pass found, one row per image that can be read.

    Attributes
    ----------
    dataset
        With content hashes, unreadable files moved to the ledger; the order of all other attributes.
    looks
        Figures of each file.
    descriptors
        Of shape (n_samples, length), as `duplicates.describe` gives them.
    features
        float32 of shape (n_samples, n_features), or None without a network.
    n_computed
        Images of which something was not known yet.
    """

    dataset: Dataset
    looks: tuple[Look, ...]
    descriptors: NDArray[np.uint8]
    features: NDArray[np.float32] | None
    n_computed: int


def inspect(
    dataset: Dataset,
    network: Network | None = None,
    *,
    stage: str = "inspecting",
    chunk_size: int = CHUNK,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Inspection:
    """Read every file once; see `tellapart.data.survey.survey`."""
    found = survey(
        dataset,
        (LOOK, DESCRIPTOR),
        network,
        stage=stage,
        chunk_size=chunk_size,
        workers=workers,
        progress=progress,
    )
    looks = tuple(Look.from_bytes(value) for value in found.values[LOOK.cache])
    return Inspection(found.dataset, looks, found.rows(DESCRIPTOR), found.features, found.n_computed)
