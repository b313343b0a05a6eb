"""What the project promises of its own shape."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tellapart

SOURCE = Path(tellapart.__file__).parent
MOST_LINES = 400


def test_public_names_are_sorted_and_exist():
    assert list(tellapart.__all__) == sorted(tellapart.__all__)
    assert set(tellapart.__all__) == set(tellapart._HOME)
    for name in tellapart.__all__:
        assert getattr(tellapart, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        tellapart.nonsense  # noqa: B018


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_no_module_is_too_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_the_studios_pages_stay_small_and_load_nothing_from_elsewhere():
    scripts = sorted((SOURCE / "studio" / "static").rglob("*.js"))
    lines = [line for path in scripts for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) < 3000
    assert max(map(len, lines)) <= 120
    for path in (SOURCE / "studio" / "static").rglob("*.*"):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
        assert not re.search(r"https?://|@import", text), path.name


def imported_by(*code: str) -> set[str]:
    """Top-level packages in a fresh interpreter after running the lines."""
    script = "\n".join([*code, "import sys; print(*{name.split('.')[0] for name in sys.modules})"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_imports_nothing_heavy():
    heavy = {"torch", "torchvision", "timm", "sklearn", "matplotlib", "onnxruntime", "numpy", "PIL"}
    assert not imported_by("from tellapart.cli.app import run", "run(['--help'])") & heavy


def test_predict_imports_no_torch(trained, photos):
    image = photos / "benign" / "000.png"
    code = f"run(['predict', {str(trained.folder)!r}, {str(image)!r}])"
    loaded = imported_by("from tellapart.cli.app import run", code)
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "torchvision", "timm", "sklearn", "matplotlib"}


def test_evaluate_imports_no_torch(trained, photos, tmp_path):
    code = f"run(['evaluate', {str(trained.folder)!r}, {str(photos)!r}, '--out', {str(tmp_path / 'e')!r}])"
    assert not imported_by("from tellapart.cli.app import run", code) & {"torch", "torchvision", "timm"}
    assert (tmp_path / "e" / "report.html").is_file()
