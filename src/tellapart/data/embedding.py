"""Embeddings of images: features of a frozen network, and which network that is unless another is named."""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name

import numpy as np
from numpy.typing import NDArray

from tellapart.data.images import Resize

DEFAULT = "tellapart.training.evidence:default_network"
"""Who knows the default network. By its name, because the training half stands above this layer and need
not be installed whole."""


@dataclass(frozen=True, eq=False)
class Network:
    """A frozen network whose features are wanted.

    Attributes
    ----------
    cache
        Name of the cache of its features; it says all that they depend on.
    resize
        What it takes.
    featurizer
        From uint8 pixels of shape (n, size, size, 3) to float32 features of shape (n, n_features); may be
        called from several threads at once.
    """

    cache: str
    resize: Resize
    featurizer: Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def default_network() -> Network:
    """Return the default backbone, on which the search for near-duplicates and the check of labels rest.

    Raises
    ------
    MissingExtra
        If the training half is not installed.
    WeightsError
        If its pretrained weights cannot be had.
    """
    network: Network = resolve_name(DEFAULT)()
    return network
