"""Check the project on a bare machine: make an environment, lint, types, contracts, tests.

Python 3.11 or newer and pip are enough. The environment is `.venv-check` beside this checkout; it is
made once and used again while pyproject.toml stays the same.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-check"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

CHECKS = (
    ("format", "-m ruff format --check ."),
    ("lint", "-m ruff check ."),
    ("types", "-m mypy"),
    ("import contracts", "-c 'import importlinter.cli, sys; sys.exit(importlinter.cli.lint_imports())'"),
    # A third process uses what the others leave idle while they wait for servers and browsers.
    ("tests", "-m pytest -n 3 --dist loadfile --no-loadscope-reorder -m 'not ray' --durations=10"),
    # A cluster wants the cores for itself.
    ("tests on Ray", "-m pytest -m ray --durations=5"),
)


def main() -> int:
    """Return the number of checks that failed."""
    make_environment()
    failed = [name for name, command in CHECKS if run(name, command)]
    print("failed: " + ", ".join(failed) if failed else "all checks passed", flush=True)
    return len(failed)


def make_environment() -> None:
    """Install the project, the training half and the tools, unless this was done already."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    mark = ENVIRONMENT / "installed"
    if mark.is_file() and mark.read_text() == wanted:
        return
    print("making the environment …", flush=True)
    if ENVIRONMENT.exists():
        shutil.rmtree(ENVIRONMENT)
    venv.create(ENVIRONMENT, with_pip=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, "--upgrade", "pip"], check=True)
    subprocess.run(
        [*pip, "--editable", ".[train,parquet,tensorboard,ray]", "--group", "test", "--group", "lint"],
        cwd=ROOT,
        check=True,
    )
    # On all cores; pip would use one. Some packages hold files for other versions of Python: not checked.
    subprocess.run(
        [str(PYTHON), "-m", "compileall", "-q", "-q", "-j", "0", str(ENVIRONMENT / "lib")], check=False
    )
    mark.write_text(wanted)


def run(name: str, command: str) -> int:
    """Run one check in the environment and return its exit status."""
    print(f"== {name}", flush=True)
    return subprocess.run([str(PYTHON), *shlex.split(command)], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
