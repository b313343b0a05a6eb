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

# Named, so that their process need not read in all the others.
RAY_TESTS = sorted(
    (
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").glob("test_*.py")
        if "mark.ray" in path.read_text(encoding="utf-8")
    ),
    key=lambda name: "deploy_ray" not in name,  # which takes longest
)
PYTEST = "-m pytest --dist loadfile --no-loadscope-reorder"
CODE = (
    ("format", "-m ruff format --check ."),
    ("lint", "-m ruff check ."),
    ("types", "-m mypy"),
    ("import contracts", "-c 'import importlinter.cli, sys; sys.exit(importlinter.cli.lint_imports())'"),
)
# More processes than cores use what others leave idle while they wait for servers and browsers. A cluster
# wants the cores for itself; but it, too, often waits.
TESTS = (
    ("tests", f"{PYTEST} -m 'not ray' -n 4 --durations=10"),
    ("tests on Ray", f"{PYTEST} -m ray -n 2 --durations=5 " + " ".join(RAY_TESTS)),
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
    with started(f"{PYTEST} -m 'not ray' --collect-only --quiet", subprocess.DEVNULL):
        failed = [name for name, command in CODE if run(name, command)]
    failed += [name for name, command in TESTS if run(name, command)]
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


def started(command: str, output: int | None = None) -> "subprocess.Popen[bytes]":
    """Start a command of Python in the environment."""
    words = [str(PYTHON), *shlex.split(command)]
    return subprocess.Popen(words, cwd=ROOT, env=SURROUNDINGS, stdout=output, stderr=output)


def run(name: str, command: str) -> int:
    """Run one check and return its exit status."""
    print(f"== {name}", flush=True)
    return started(command).wait()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
