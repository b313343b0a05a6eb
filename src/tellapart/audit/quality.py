"""Which pictures are out of the ordinary: blank, dark, blurred, bordered, of an odd size or name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.findings import Finding, Severity
from tellapart.audit.looks import Look
from tellapart.data.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Defect:
    """One way in which a picture can be out of the ordinary.

    Attributes
    ----------
    kind, severity
        Of the finding.
    says
        What pictures with it are, after "3 pictures".
    advice
        What to do about them.
    excess
        From all looks to a figure of each, above 0 for those that have the defect: float64 of shape
        (n_samples,).
    hides_others
        Whether a picture that has it is not searched for the defects after it: a blank one is also blurred.
    """

    kind: str
    severity: Severity
    says: str
    advice: str
    excess: Callable[[Sequence[Look]], NDArray[np.float64]]
    hides_others: bool = False


def _column(looks: Sequence[Look], name: str) -> NDArray[np.float64]:
    return np.array([getattr(look, name) for look in looks], dtype=np.float64)


def _blank(looks: Sequence[Look]) -> NDArray[np.float64]:
    """Nine tenths of the picture within four grey levels, and nothing small that stands out."""
    spread = _column(looks, "highlights") - _column(looks, "shadows")
    return np.minimum(4.5 / 255 - spread, 0.01 - _column(looks, "contrast"))


def _dark(looks: Sequence[Look]) -> NDArray[np.float64]:
    """Nearly everything below 0.3, and below half of what is usual in the set."""
    highlights = _column(looks, "highlights")
    return min(0.3, float(np.median(highlights)) / 2) - highlights


def _bright(looks: Sequence[Look]) -> NDArray[np.float64]:
    """Nearly everything above 0.8 and in the upper half of what is usual, without contrast.

    A dark thing on white paper has contrast.
    """
    shadows = _column(looks, "shadows")
    excess = shadows - max(0.8, (1 + float(np.median(shadows))) / 2)
    return np.where(_column(looks, "contrast") < 0.08, excess, -1.0)


def _empty(looks: Sequence[Look]) -> NDArray[np.float64]:
    """Fewer bits than of four equally used grey levels, and than a third of what is usual in the set."""
    entropy = _column(looks, "entropy")
    return min(2.0, float(np.median(entropy)) / 3) - entropy


def _blurred(looks: Sequence[Look]) -> NDArray[np.float64]:
    """Blur above 0.5, and well above what is usual in the set."""
    blur = _column(looks, "blur")
    return blur - max(0.5, float(np.median(blur)) + 0.1)


def _grey(looks: Sequence[Look]) -> NDArray[np.float64]:
    """No colour, while most of the set has some."""
    excess = 0.01 - _column(looks, "colourfulness")
    return excess if (excess > 0).mean() < 0.5 else np.full(len(looks), -1.0)


def _bordered(looks: Sequence[Look]) -> NDArray[np.float64]:
    """Have a plain border of a fiftieth of the width or height, on any side."""
    return np.array([max(look.border) for look in looks]) - 0.02


def _odd_size(looks: Sequence[Look]) -> NDArray[np.float64]:
    """Edges (geometric mean) a fifth or five times the usual, or one under 32 pixels."""
    width, height = _column(looks, "width"), _column(looks, "height")
    edge = np.sqrt(width * height)
    factor = np.maximum(edge / np.median(edge), np.median(edge) / edge) / 5
    return np.asarray(np.maximum(factor, 32 / np.minimum(width, height)) - 1)


def _odd_shape(looks: Sequence[Look]) -> NDArray[np.float64]:
    """Three times as long as wide, and twice as much as usual."""
    width, height = _column(looks, "width"), _column(looks, "height")
    ratio = np.maximum(width / height, height / width)
    return np.asarray(ratio - max(3, 2 * float(np.median(ratio))))


_LOOK = "look at what is in there, and leave out what shows nothing"

DEFECTS = (
    Defect(
        "extreme size",
        "note",
        "far smaller or larger than the others, or under 32 pixels",
        "make sure that all of this belongs to the set",
        _odd_size,
    ),
    Defect(
        "extreme aspect ratio",
        "note",
        "far longer than the others in one direction",
        "resizing distorts or cuts such shapes; cut out the part that matters",
        _odd_shape,
    ),
    Defect("blank", "warning", "of one plain shade", "leave out what shows nothing", _blank, True),
    Defect("too dark", "warning", "nearly black", _LOOK, _dark, True),
    Defect("too bright", "warning", "nearly white", _LOOK, _bright, True),
    Defect("low information", "warning", "with hardly any shades", _LOOK, _empty, True),
    Defect(
        "blurred",
        "warning",
        "out of focus or blurred by motion",
        "a network sees less of the subject; take them again, or leave them out",
        _blurred,
    ),
    Defect(
        "greyscale among colour",
        "note",
        "without colour, unlike the others",
        "if that goes with a class or a camera, turn all into greyscale, or leave these out",
        _grey,
    ),
    Defect(
        "border",
        "warning",
        "with a plain border",
        "cut borders off: a network can learn them instead of the subject",
        _bordered,
    ),
)
"""In the order in which they hide those after them.

The limits were chosen on 63 photographs and 5,984 dermoscopic images of 224 pixels, as they are and damaged
on purpose. As they are they give five findings, all of blur, by soft shadows at the dermatoscope's edge. All
pictures darkened to 0.3 or less, faded to 0.2 or less, turned grey, or given a border of 5 % or more get a
finding; of those blurred by a Gaussian of 2 pixels (at 224), 96 to 100 % do.
"""

_FORMAT_OF = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **{".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF"},
}


def findings(dataset: Dataset, looks: Sequence[Look]) -> list[Finding]:
    """Return what is out of the ordinary, one finding per kind, the images concerned worst first.

    Each limit is an absolute one that is also compared with the set's median, so that a set that is dark
    or blurred by nature is not reported image by image.

    Parameters
    ----------
    looks
        One per sample, in the dataset's order.
    """
    found = []
    hidden = np.zeros(len(looks), dtype=bool)
    for defect in DEFECTS if looks else ():
        excess = np.where(hidden, -1.0, defect.excess(looks))
        worst_first = [i for i in np.argsort(-excess, kind="stable").tolist() if excess[i] > 0]
        if defect.hides_others:
            hidden[worst_first] = True
        if worst_first:
            pictures = "1 picture" if len(worst_first) == 1 else f"{len(worst_first)} pictures"
            message = f"{pictures} {defect.says}: {defect.advice}"
            ids = tuple(dataset.samples[i].id for i in worst_first)
            found.append(Finding(defect.kind, defect.severity, message, ids))
    return found + _misnamed(dataset, looks)


def _misnamed(dataset: Dataset, looks: Sequence[Look]) -> list[Finding]:
    """Return files whose names promise another format, which other programs will not open."""
    formats = {
        sample.id: look.format
        for sample, look in zip(dataset.samples, looks, strict=True)
        if _FORMAT_OF.get(sample.path.suffix.lower(), look.format) != look.format
    }
    if not formats:
        return []
    first = next(iter(formats))
    files = "1 file is" if len(formats) == 1 else f"{len(formats)} files are"
    message = (
        f"{files} of another format than the name says, first {first}, which is {formats[first]}: tellapart "
        "reads them, other programs may not; rename"
    )
    return [Finding("misnamed", "note", message, tuple(formats), {"formats": formats})]
