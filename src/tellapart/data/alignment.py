"""How alike two small pictures are once one is laid on the other."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tellapart.data.reader import in_parallel

Float = NDArray[np.float32]

FIRST_STEPS, MORE_STEPS = 3, 6
"""Steps of the alignment on pictures of half the edge, which weeds out most pairs, and on whole ones. From a
start that is right to a twentieth of an edge, fewer are needed."""

HOPELESS = 0.85
"""Correlation before the last of the first steps below which no more are taken: slight crops have 0.95."""

BROAD = 3 / 16
"""Standard deviation, as a part of the edge, of the blur that is taken off a picture before it is aligned:
shadows and broad blobs, which many pictures share, must not lead it."""

SOFT_PX = 0.7
"""Standard deviation of the blur under which pictures are compared: it hides whether one was resampled."""

LOCAL_PX = 1.5
"""Standard deviation of the places in which pictures are compared one by one: a copy agrees everywhere, two
photographs of one scene do not agree where something was moved."""

NOISE = 3.0
"""Standard deviation, in grey levels, of what a place may show for no reason: strong compression alone gives
as much. A place with more of it counts, and hardly more if it has a lot more."""

LEAST_OVERLAP = 0.8
"""Part of a picture that the other must show as well."""

CHUNK = 512
"""Pairs aligned at a time, which fits the processor's cache and bounds memory."""


def similarity(moving: Float, fixed: Float, start: Float) -> Float:
    """Align pictures and correlate their details.

    The alignment is the inverse compositional algorithm of Baker and Matthews ("Lucas-Kanade 20 years on: a
    unifying framework", International Journal of Computer Vision 56, 2004) with an affine warp.

    Parameters
    ----------
    moving, fixed
        float32 of shape (n_pairs, edge, edge).
    start
        float32 of shape (n_pairs, 2, 3): where to look in `moving` for each place of `fixed`, as affine maps
        of (x, y, 1) with x and y in [-1, 1].

    Returns
    -------
    float32 of shape (n_pairs,), in [-1, 1]: correlation of what both show.
    """
    chunks = [slice(begin, begin + CHUNK) for begin in range(0, len(fixed), CHUNK)]
    done = in_parallel(lambda chosen: _similarity(moving[chosen], fixed[chosen], start[chosen]), chunks)
    return np.concatenate([*done, np.empty(0, np.float32)])


def _similarity(moving: Float, fixed: Float, warp: Float) -> Float:
    value = np.zeros(len(fixed), np.float32)
    warp, correlation = _align(_halved(moving), _halved(fixed), warp, FIRST_STEPS)
    hopeful = correlation >= HOPELESS
    if not hopeful.any():
        return value
    moving, fixed = moving[hopeful], fixed[hopeful]
    warp, _ = _align(moving, fixed, warp[hopeful], MORE_STEPS)
    shown, inside = _sample(_blurred(moving, SOFT_PX), warp)
    value[hopeful] = _local_correlation(shown, _blurred(fixed, SOFT_PX), inside)
    return value


def _align(moving: Float, fixed: Float, warp: Float, n_steps: int) -> tuple[Float, Float]:
    """Return affine maps, nearer to laying `moving` on `fixed`, and the correlation before the last step."""
    n_pairs, edge, _ = fixed.shape
    broad_px = BROAD * edge
    moving, fixed = moving - _blurred(moving, broad_px), _unit(fixed - _blurred(fixed, broad_px))
    slope_y, slope_x = (slope.reshape(n_pairs, -1) * (edge / 2) for slope in np.gradient(fixed, axis=(1, 2)))
    x, y = _grid(edge)
    slopes = np.stack([slope_x * x, slope_x * y, slope_x, slope_y * x, slope_y * y, slope_y], axis=1)
    square = slopes @ slopes.transpose(0, 2, 1)
    # A picture of stripes cannot tell how far it was moved along them: such a step is damped.
    strength = np.trace(square, axis1=1, axis2=2) * 2e-4 + 1e-9
    square += np.eye(6, dtype=np.float32) * strength[:, None, None]
    solve = np.linalg.inv(square) @ slopes
    fixed = fixed.reshape(n_pairs, -1, 1)
    for _ in range(n_steps):
        shown = _unit(_sample(moving, warp)[0]).reshape(n_pairs, -1, 1)
        warp = _compose(warp, _inverse((solve @ (shown - fixed)).reshape(n_pairs, 2, 3)))
    return warp, (shown * fixed).sum(axis=(1, 2))


def _compose(warp: Float, inner: Float) -> Float:
    """Return the maps that go through `inner` first."""
    linear = warp[:, :, :2] @ inner[:, :, :2]
    shift = warp[:, :, :2] @ inner[:, :, 2:] + warp[:, :, 2:]
    return np.concatenate([linear, shift], axis=2)


def _inverse(step: Float) -> Float:
    """Return the inverse of the maps ``identity + step``."""
    linear = step[:, :, :2] + np.eye(2, dtype=np.float32)
    determinant = np.linalg.det(linear)
    # A step that turns a picture inside out is none; such a pair stays where it is and will not correlate.
    linear[np.abs(determinant) < 0.1] = np.eye(2, dtype=np.float32)
    inverse = np.linalg.inv(linear)
    return np.concatenate([inverse, -inverse @ step[:, :, 2:]], axis=2)


def _grid(edge: int) -> tuple[Float, Float]:
    """Return x and y in (-1, 1) of each pixel's centre, row by row."""
    line = ((np.arange(edge) + 0.5) * 2 / edge - 1).astype(np.float32)
    y, x = np.meshgrid(line, line, indexing="ij")
    return x.ravel(), y.ravel()


def _sample(pictures: Float, warp: Float) -> tuple[Float, NDArray[np.bool_]]:
    """Return the pictures as seen through the maps, and which pixels lie within them."""
    n_pairs, edge, _ = pictures.shape
    x, y = _grid(edge)
    places = warp @ np.stack([x, y, np.ones_like(x)])  # (n_pairs, 2, n_pixels)
    inside = (np.abs(places) <= 1).all(axis=1)
    places = np.clip((places + 1) * (edge / 2) - 0.5, 0, edge - 1)
    corner = np.minimum(places.astype(np.int32), edge - 2)
    part = places - corner.astype(np.float32)
    index = corner[:, 1] * edge + corner[:, 0] + (np.arange(n_pairs, dtype=np.int32) * edge**2)[:, None]
    flat = pictures.ravel()
    at, right, below, across = (flat.take(index + step) for step in (0, 1, edge, edge + 1))
    upper, lower = at + part[:, 0] * (right - at), below + part[:, 0] * (across - below)
    shown = upper + part[:, 1] * (lower - upper)
    return shown.reshape(n_pairs, edge, edge), inside.reshape(n_pairs, edge, edge)


def _blurred(pictures: Float, blur_px: float) -> Float:
    """Return the pictures under a Gaussian blur; pixels beyond the border do not count."""
    n_pictures, edge, _ = pictures.shape
    blur = _blur(edge, blur_px).T
    for _ in range(2):
        pictures = (pictures.reshape(-1, edge) @ blur).reshape(n_pictures, edge, edge).transpose(0, 2, 1)
    return pictures


@cache
def _blur(edge: int, blur_px: float) -> Float:
    # For pictures this small two products of matrices are several times faster than a filter.
    distance = np.subtract.outer(np.arange(edge), np.arange(edge))
    weight = np.exp(-0.5 * (distance / blur_px) ** 2)
    weight[weight < 1e-6] = 0  # numbers too small for float32's normal range are very slow to multiply
    blur: Float = (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
    return blur


def _halved(pictures: Float) -> Float:
    """Return the means of two by two pixels."""
    n_pictures, edge, _ = pictures.shape
    halved: Float = pictures.reshape(n_pictures, edge // 2, 2, edge // 2, 2).mean(axis=(2, 4))
    return halved


def _unit(pictures: Float) -> Float:
    pictures = pictures - pictures.mean(axis=(1, 2), keepdims=True)
    unit: Float = pictures / np.maximum(np.linalg.norm(pictures, axis=(1, 2), keepdims=True), 1e-6)
    return unit


def _local_correlation(first: Float, second: Float, where: NDArray[np.bool_]) -> Float:
    """Return the mean correlation of the places that show something; 0 where too little overlaps."""
    mean_first, mean_second = _blurred(first, LOCAL_PX), _blurred(second, LOCAL_PX)
    both = _blurred(first * second, LOCAL_PX) - mean_first * mean_second
    square_first = np.maximum(_blurred(first * first, LOCAL_PX) - mean_first**2, 1e-3)
    square_second = np.maximum(_blurred(second * second, LOCAL_PX) - mean_second**2, 1e-3)
    most = np.maximum(square_first, square_second)
    weight = where * most / (most + NOISE**2)
    value = (weight * both / np.sqrt(square_first * square_second)).sum(axis=(1, 2))
    value /= np.maximum(weight.sum(axis=(1, 2)), 1e-6)
    return np.where(where.mean(axis=(1, 2)) >= LEAST_OVERLAP, value, 0).astype(np.float32)
