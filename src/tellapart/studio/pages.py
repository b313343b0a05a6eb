"""The page around the views, as HTML: it links to the views that there are, and to their style sheets."""

from html import escape
from pathlib import Path

import tellapart.evaluation

STATIC = Path(__file__).parent / "static"

SHARED = Path(tellapart.evaluation.__file__).parent / "static"
"""Where the report keeps what draws its curves; the studio draws them with the same."""

SHARED_FILES = ("curves.js", "curves.css")

VIEWS = {
    "grid": "Grid",
    "review": "Review",
    "duplicates": "Duplicates",
    "augment": "Augmentation",
    "training": "Training",
    "results": "Results",
    "threshold": "Threshold",
    "try": "Try",
    "history": "History",
}
"""Name -> title, in the order of their links."""


def views() -> list[str]:
    """Return the views that are installed."""
    return [name for name in VIEWS if (STATIC / "views" / f"{name}.js").is_file()]


def page(edition: str) -> str:
    """Return the page that every address of a view answers with.

    Parameters
    ----------
    edition
        Goes into the addresses of pictures, so that a browser asks anew when it may differ.
    """
    styled = [name for name in views() if (STATIC / "views" / f"{name}.css").is_file()]
    links = [f'<link rel="stylesheet" href="/static/views/{name}.css">' for name in styled]
    template = (STATIC / "index.html").read_text(encoding="utf-8")
    count = '<span class="count"></span>'
    there = "".join(f'<a href="/{name}" data-view="{name}">{VIEWS[name]}{count}</a>' for name in views())
    values = {"edition": escape(edition), "views": there, "styles": "\n  ".join(links)}
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template
