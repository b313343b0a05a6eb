"""What a user may hand to the client, and how it is cut into requests."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import ConfigError

Image: TypeAlias = str | Path | bytes | NDArray[np.uint8]
"""A path, an http address, the bytes of a file, or pixels."""

MAX_BODY_BYTES = 8_000_000
"""Bytes per request: the service's own limit of 10 MB, less more than the multipart headers need."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One image as it was given, and what to call it."""

    name: str
    image: Image

    @property
    def is_address(self) -> bool:
        """Whether the service shall fetch it itself."""
        return isinstance(self.image, str) and self.image.lower().startswith(("http://", "https://"))

    def size_bytes(self) -> int:
        """Return about how many bytes will be sent; 0 for what cannot be read."""
        if isinstance(self.image, np.ndarray):
            return self.image.nbytes
        if isinstance(self.image, bytes) or self.is_address:
            return len(self.image)  # type: ignore[arg-type]
        try:
            return Path(self.image).stat().st_size
        except (OSError, ValueError):
            return 0

    def content(self) -> bytes:
        """Return the bytes of an image file.

        Raises
        ------
        OSError, ValueError
            If the file cannot be read.
        """
        if isinstance(self.image, bytes):
            return self.image
        return _png(self.image) if isinstance(self.image, np.ndarray) else Path(self.image).read_bytes()


def sources(images: Image | Iterable[Image]) -> tuple[list[Source], bool]:
    """Return the images in order, and whether it was one image rather than a list of them.

    Raises
    ------
    ConfigError
        If something is no image.
    """
    if isinstance(images, str | Path | bytes) or (isinstance(images, np.ndarray) and images.ndim < 4):
        return [_source(images, 0)], True
    return [_source(image, i) for i, image in enumerate(images)], False


def batches(sources: Sequence[Source], max_images: int) -> Iterator[list[Source]]:
    """Cut a list where a request would hold too many images or bytes, or files beside addresses."""
    batch: list[Source] = []
    room = MAX_BODY_BYTES
    for source in sources:
        size = source.size_bytes()
        if batch and (len(batch) == max_images or size > room or source.is_address != batch[0].is_address):
            yield batch
            batch, room = [], MAX_BODY_BYTES
        batch.append(source)
        room -= size
    if batch:
        yield batch


def _source(image: Image, index: int) -> Source:
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
            raise ConfigError(
                f"image {index} is an array of shape {image.shape} and type {image.dtype}; give uint8 of "
                "shape (height, width, 3) or (height, width), such as (255 * x).astype('uint8')"
            )
        return Source(f"image {index}", image)
    if isinstance(image, bytes):
        return Source(f"image {index}", image)
    if isinstance(image, str | Path):
        return Source(str(image), image)
    raise ConfigError(
        f"image {index} is a {type(image).__name__}; give a path, an http address, the bytes of a file, "
        "or uint8 pixels"
    )


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image as PillowImage

    buffer = io.BytesIO()
    # The fastest level: what it saves on the wire costs more than it brings beyond that.
    PillowImage.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
