"""The one file of JavaScript, and the one of CSS, that a widget is made of: out of the studio's modules.

The studio's pages load their modules one by one; a widget's script must be a single file. Each module is put
into a function of its own, so that no name of one meets a name of another, its imports become look-ups, and
its exports what the function returns. That is done line by line, for the forms of import and export that the
studio's modules have; any other form is refused, so that a new one is noticed when it is written.
"""

import posixpath
import re
from collections.abc import Sequence
from functools import cache

from tellapart.studio.pages import SHARED, STATIC, VIEWS

WIDGET = "core/widget.js"
"""The module that puts a view into a notebook."""

ROOT = "tellapart"
"""Class of the element that a widget lives in; its styles reach no further."""

_IMPORT = re.compile(r'import \{ ([\w, ]+) \} from "([^"]+)";')
_EXPORT = re.compile(r"export ((?:async )?function|const|class) (\w+)\b")
_REFUSED = re.compile(r"\s*(import|export)\b(?!:)|.*(\bimport\(|\bimport\.meta)")


@cache
def script(views: Sequence[str]) -> str:
    """Return an ES module for anywidget that shows the first of these views, and can go to the others.

    Parameters
    ----------
    views
        Names of files in ``static/views``, without suffix; a tuple, since results are kept.

    Raises
    ------
    ValueError
        If a module imports or exports in a form that is not known here, or modules import in a circle.
    """
    modules: dict[str, str] = {}
    for name in (WIDGET, *(f"views/{view}.js" for view in views)):
        _gather(name, modules, ())
    shown = ", ".join(
        f'{name}: {{ ...modules["views/{name}.js"], title: "{VIEWS[name]}" }}' for name in views
    )
    return "\n".join(
        [
            "function load() {",
            "const modules = {};",
            *(f'modules["{name}"] = (() => {{\n{body}\n}})();' for name, body in modules.items()),
            f'return [modules["{WIDGET}"].render, {{ {shown} }}];',
            "}",
            # Anew each time: a widget that is shown twice is two pages.
            "export default { render({ model, el }) {",
            "  const [render, views] = load();",
            "  return render(model, el, views);",
            "} };",
            "",
        ]
    )


def _gather(name: str, modules: dict[str, str], importers: tuple[str, ...]) -> None:
    """Add a module to `modules`, after all that it imports."""
    if name in importers:
        raise ValueError(f"modules import each other: {' > '.join((*importers, name))}")
    if name in modules:
        return
    file = SHARED / posixpath.basename(name) if name.startswith("/shared/") else STATIC / name
    lines, exported = [], []
    for line in file.read_text(encoding="utf-8").splitlines():
        if found := _IMPORT.fullmatch(line):
            source = posixpath.normpath(posixpath.join(posixpath.dirname(name), found[2]))
            _gather(source, modules, (*importers, name))
            lines.append(f'const {{ {found[1].replace(" as ", ": ")} }} = modules["{source}"];')
        elif found := _EXPORT.match(line):
            exported.append(found[2])
            lines.append(line.removeprefix("export "))
        elif _REFUSED.match(line):
            raise ValueError(f"{name}: a widget's script cannot be made of this line: {line.strip()}")
        else:
            lines.append(line)
    modules[name] = "\n".join([*lines, f"return {{ {', '.join(exported)} }};"])


@cache
def styles(views: Sequence[str]) -> str:
    """Return the CSS of these views, which styles nothing outside the widget.

    What the studio says of its page is said of the widget: widths are those of the widget, not of the
    window, and dark is what Jupyter calls dark, or the system where Jupyter says nothing.

    Parameters
    ----------
    views
        As for `script`.
    """
    own = [STATIC / "views" / f"{view}.css" for view in views]
    files = [STATIC / "style.css", SHARED / "curves.css", *own, STATIC / "core" / "widget.css"]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files if file.exists())
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"(?<![\w.#-])(:root|html|body)(?![\w-])(?=[^{};]*\{)", "&", text)
    text = re.sub(r"@media \((min|max)-width", r"@container (\1-width", text)
    text, n_dark = _DARK.subn(_dark, text)
    if n_dark != 1:
        raise ValueError("style.css does not say what is dark in the one form that is known here")
    apart = _KEYFRAMES.findall(text)  # these cannot stand within other rules
    return "\n".join([f".{ROOT} {{", _KEYFRAMES.sub("", text), "}", *apart, ""])


_DARK = re.compile(r"@media \(prefers-color-scheme: dark\) \{\s*& \{([^{}]*)\}\s*\}")
_KEYFRAMES = re.compile(r"@keyframes [\w-]+ \{(?:[^{}]*\{[^{}]*\})*\s*\}")


def _dark(found: re.Match[str]) -> str:
    return (
        '[data-jp-theme-light="true"] & { color-scheme: light; }\n'
        f'[data-jp-theme-light="false"] & {{ color-scheme: dark; {found[1]} }}\n'
        f"@media (prefers-color-scheme: dark) {{ body:not([data-jp-theme-light]) & {{ {found[1]} }} }}"
    )
