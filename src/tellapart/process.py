"""Processes that live on, and whose: one is started, and later told apart from another of the same number."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

NOT_INHERITED = frozenset({"TELLAPART_KEY"})
"""Variables that are their user's own; what lives on would keep them for others to read."""

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process by number and start; numbers are given again, and after a restart of the machine at once.

    Attributes
    ----------
    pid
        Its number. Each is the first of a group of its own, with its workers.
    started
        A text that no other process of that number has.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """Return the process that has this number now; None for none, and for one that has ended."""
        started = _started(pid)
        return None if started is None else cls(pid, started)

    @property
    def is_alive(self) -> bool:
        """Whether it, and no other of its number, still runs."""
        return _started(self.pid) == self.started

    @property
    def has_workers(self) -> bool:
        """Whether any of its group, which may outlive it for a moment, still runs."""
        # A number is not given again while a group has it: under that of another process there is no worker.
        if _started(self.pid) not in (None, self.started):
            return False
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):  # none, or somebody else's
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens if it is gone."""
        if self.is_alive:
            os.kill(self.pid, number)

    def wait(self, limit_s: float) -> bool:
        """Wait for its end; say whether it came."""
        deadline = time.monotonic() + limit_s
        while self.is_alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def kill_group(self) -> None:
        """End it and its workers at once."""
        if self.is_alive:
            os.killpg(self.pid, signal.SIGKILL)


def launch(
    command: Sequence[str],
    log: Path,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen[bytes]:
    """Start a process that outlives its maker.

    Parameters
    ----------
    log
        What it prints is appended to this file.
    folder
        Where it works; by default where we do.
    environment
        What it has beside our own variables.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**inherited, **environment},
            # A session of its own: the end of the terminal, and ctrl-C in it, do not reach it.
            start_new_session=True,
        )


def _started(pid: int) -> str | None:
    if not _PROC.joinpath("self", "stat").exists():
        return _started_by_ps(pid)
    try:
        # The name, in brackets, may hold anything; what follows the last bracket is plain.
        values = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except (OSError, ValueError):
        return None
    state, ticks = values[0], values[19]
    return None if state in "ZX" else f"{boot} {ticks}"


def _started_by_ps(pid: int) -> str | None:
    done = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    state, _, started = done.stdout.strip().partition(" ")
    return started.strip() if state and not state.startswith("Z") else None


def this_user() -> str:
    """Return who runs this process; asked of the system, because environment variables can lie."""
    if os.name != "posix":
        import getpass

        return getpass.getuser()
    import pwd

    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's user without a name
        return str(uid)
