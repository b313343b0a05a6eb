"""Pictures as addresses that hold them, for answers in which they come along."""

import base64
import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

JPEG_QUALITY = 92


def data_url(content: bytes, kind: Literal["jpeg", "png"]) -> str:
    """Return the address of an encoded picture."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def drawn(pixels: NDArray[np.uint8], kind: Literal["jpeg", "png"]) -> str:
    """Return the address of pixels, uint8 of shape (height, width, 3), or with "png" also 4."""
    buffer, options = io.BytesIO(), {"quality": JPEG_QUALITY} if kind == "jpeg" else {}
    Image.fromarray(pixels).save(buffer, kind, **options)
    return data_url(buffer.getvalue(), kind)
