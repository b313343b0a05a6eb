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
import tempfile
import venv
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-check"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

# Named, so that their process need not read in all the others.
RAY_TESTS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "tests").glob("test_*.py")
    if "mark.ray" in path.read_text(encoding="utf-8")
)
TESTS = "-m pytest --dist loadfile --no-loadscope-reorder -m 'not ray'"
TESTS_ON_RAY = "-m pytest -m ray --durations=5 " + " ".join(RAY_TESTS)
CODE = (
    ("format", "-m ruff format --check ."),
    ("lint", "-m ruff check ."),
    ("types", "-m mypy"),
    ("import contracts", "-c 'import importlinter.cli, sys; sys.exit(importlinter.cli.lint_imports())'"),
)
# Threads of the libraries below NumPy and torch would wait for each other more than they compute. Compiled
# files are kept even where they usually are not: hundreds of processes start here.
SURROUNDINGS = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def main() -> int:
    """Return the number of checks that failed."""
    make_environment()
    # Reads in and compiles the tests on one core, while the code is looked through on another.
    with started(f"{TESTS} --collect-only --quiet", subprocess.DEVNULL):
        failed = [name for name, command in CODE if run(name, command)]
    # A cluster waits often, for processes and for its own patience, and so do servers and browsers: what
    # others leave idle is used by a third process, and by Ray.
    with tempfile.TemporaryFile() as said:
        with started(TESTS_ON_RAY, said) as on_ray:
            failed += ["tests"] if run("tests", f"{TESTS} -n 3 --durations=10") else []
            failed += ["tests on Ray"] if on_ray.wait() else []
        print("== tests on Ray", flush=True)
        said.seek(0)
        shutil.copyfileobj(said, sys.stdout.buffer)
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
    subprocess.run([*pip, "--upgrade", "pip", "uv"], check=True)
    wants = ["--editable", ".[train,parquet,tensorboard,ray]", "--group", "test", "--group", "lint"]
    # Seven times as fast as pip, but not told by pip's own settings where packages are to be found.
    uv = [str(PYTHON), "-m", "uv", "pip", "install", "--quiet", "--python", str(PYTHON)]
    if subprocess.run([*uv, *wants], cwd=ROOT).returncode:
        subprocess.run([*pip, *wants], cwd=ROOT, check=True)
    # On all cores. Some packages hold files for other versions of Python: not checked.
    subprocess.run(
        [str(PYTHON), "-m", "compileall", "-q", "-q", "-j", "0", str(ENVIRONMENT / "lib")], check=False
    )
    mark.write_text(wanted)


def started(command: str, output: IO[bytes] | int | None = None) -> "subprocess.Popen[bytes]":
    """Start a command of Python in the environment."""
    words = [str(PYTHON), *shlex.split(command)]
    return subprocess.Popen(words, cwd=ROOT, env=SURROUNDINGS, stdout=output, stderr=output)


def run(name: str, command: str) -> int:
    """Run one check and return its exit status."""
    print(f"== {name}", flush=True)
    return started(command).wait()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
