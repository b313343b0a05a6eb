"""The picture that a load test sends when it is given none."""

import io

import numpy as np

from tellapart.data.dermoscopy import draw_lesion


def drawn(seed: int = 0) -> bytes:
    """Return a JPEG of 600x450 pixels, drawn anew for each seed, as large as a photograph of that size."""
    buffer = io.BytesIO()
    picture = draw_lesion(np.random.default_rng(seed), 0.5, 600).crop((0, 75, 600, 525))
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
