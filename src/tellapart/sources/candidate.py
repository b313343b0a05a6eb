"""A candidate: an image that a source offers, before it is downloaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Candidate:
    """One image on offer.

    Attributes
    ----------
    id
        Unique within the source and safe as a file name, such as ``ISIC_0024306``; the file's stem.
    url
        Where its bytes are; for a local folder a ``file:`` address.
    label
        The class it will be filed under.
    licence, licence_url, attribution
        Short name (``CC-BY``), address of its text, and who must be named; empty where not known.
    group
        What must stay on one side of a split (patient, lesion), else None.
    metadata
        Every other column of the manifest, as text.
    size_px
        Width and height as announced, else None.
    """

    id: str
    url: str
    label: str
    licence: str = ""
    licence_url: str = ""
    attribution: str = ""
    group: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    size_px: tuple[int, int] | None = None
