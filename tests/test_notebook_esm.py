"""The one script that a widget is made of."""

import re

import pytest

from kernels import WIDGETS
from tellapart.notebook import esm
from tellapart.studio.pages import views

# ---- the one script


def test_every_view_of_the_studio_could_be_a_widget():
    for view in views():
        text = esm.script((view,))
        assert not re.search(r"^\s*import\b", text, re.MULTILINE)
        assert re.findall(r"^export .*", text, re.MULTILINE) == ["export default { render({ model, el }) {"]


def test_a_module_is_there_once_and_after_what_it_imports():
    text = esm.script(("results", "grid"))
    order = re.findall(r'^modules\["(.+?)"\] = ', text, re.MULTILINE)
    assert len(order) == len(set(order))
    assert order.index("core/dom.js") < order.index("core/grid.js") < order.index("views/grid.js")
    assert '"/shared/curves.js"' in esm.script(("threshold",))


@pytest.mark.parametrize(
    "line",
    [
        "import * as all from './b.js';",
        'import one from "./b.js";',
        'import "./b.js";',
        "export default 1;",
        "export { a };",
        "export let a = 1;",
        '  const b = await import("./b.js");',
        "const here = import.meta.url;",
    ],
)
def test_other_forms_of_import_and_export_are_refused(tmp_path, monkeypatch, line):
    monkeypatch.setattr(esm, "STATIC", tmp_path)
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "widget.js").write_text(f"{line}\n")
    with pytest.raises(ValueError, match=re.escape(line.strip())):
        esm.script.__wrapped__(())


def test_modules_in_a_circle_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(esm, "STATIC", tmp_path)
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "widget.js").write_text('import { b } from "./b.js";\n')
    (tmp_path / "core" / "b.js").write_text('import { a as c } from "./widget.js";\n')
    with pytest.raises(ValueError, match=re.escape("core/widget.js > core/b.js > core/widget.js")):
        esm.script.__wrapped__(())


@pytest.mark.parametrize("shown", WIDGETS, ids=lambda shown: shown[0])
def test_styles_stay_in_the_widget(shown):
    text = esm.styles(shown)
    outside = re.sub(r"\{(?:[^{}]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})*\}", "", text).split()
    assert outside == [".tellapart", "@keyframes", "rise"]
    assert not re.search(r"(?m)^\s*(:root|html|body)\b[^{]*\{", text)
    assert "@media (max-width" not in text
    assert '[data-jp-theme-light="false"] & { color-scheme: dark; ' in text
