"""`tellapart studio`: what becomes of its options, and one studio from the terminal to its end."""

import re
import signal
import socket
import subprocess
import sys

import httpx2
import pytest

from browser import started
from pictures import write_class_folders
from tellapart.cli import studio as command
from tellapart.cli.app import run
from tellapart.studio import server


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("TELLAPART_JOURNAL", raising=False)
    return write_class_folders(tmp_path / "photos", {"cat": 3, "dog": 3})


@pytest.fixture
def shown(monkeypatch):
    """The application that would have been served, after it has been opened once."""
    seen = []

    def serve(app, listener, on_ready):
        seen.append(app)
        on_ready()
        listener.close()

    monkeypatch.setattr(server, "serve", serve)
    return seen


def test_options_become_a_desk(folder, tmp_path, shown, trained, capsys):
    (tmp_path / "keys.toml").write_text('accept = "y"\nflag = "Shift+F"\n')
    (tmp_path / "findings.json").write_text('{"findings": []}')
    options = (
        f"--run {trained.folder} --runs {tmp_path}/runs --journal {tmp_path}/j.sqlite --user grace "
        f"--examples {tmp_path}/new --findings {tmp_path}/findings.json --keys {tmp_path}/keys.toml"
    )
    assert run(["studio", str(folder), "--no-browser", *options.split()]) == 0
    desk = shown[0].state.desk
    assert (desk.data, desk.actor, desk.run) == (folder, "grace", trained.folder)
    assert (desk.runs, desk.examples) == (tmp_path / "runs", tmp_path / "new")
    assert desk.journal.path == tmp_path / "j.sqlite"
    assert desk.findings == tmp_path / "findings.json"
    assert desk.keys == {"accept": "y", "flag": "Shift+f"}
    printed = capsys.readouterr().out
    assert re.fullmatch(
        rf"studio of {folder} at http://127\.0\.0\.1:\d+/\?token=\S+ \(Ctrl-C ends it\)\n", printed
    )


@pytest.mark.parametrize(
    ("options", "display", "opens"),
    [([], ":0", True), (["--no-browser"], ":0", False), ([], "", False)],
)
def test_the_browser_is_opened_where_it_has_a_display(folder, shown, monkeypatch, options, display, opens):
    opened = []
    monkeypatch.setattr(command, "_open", opened.append)
    monkeypatch.setattr(command.sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    run(["studio", str(folder), *options])
    assert ["?token=" in link for link in opened] == [True] * opens


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('accpt = "y"', "no action 'accpt'; there are: left, right"),
        ('accept = "yes"', "accept = 'yes' is no key"),
        ("accept = 7", "accept = 7 is no key"),
        ('accept = "f"', "f would do accept and flag"),
        ("accept =", "cannot be read"),
    ],
)
def test_mistakes_in_the_file_of_keys_are_explained(folder, tmp_path, shown, capsys, text, says):
    (tmp_path / "keys.toml").write_text(text)
    assert run(["studio", str(folder), "--keys", str(tmp_path / "keys.toml")]) == 1
    printed = " ".join(capsys.readouterr().err.split())
    assert says in printed
    assert not shown


def test_two_keys_can_change_places(folder, tmp_path, shown):
    (tmp_path / "keys.toml").write_text('accept = "k"\nkeep = "a"\n')
    assert run(["studio", str(folder), "--keys", str(tmp_path / "keys.toml"), "--no-browser"]) == 0
    assert shown[0].state.desk.keys == {"accept": "k", "keep": "a"}


def test_a_port_that_is_taken_is_told(folder, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert run(["studio", str(folder), "--port", str(port), "--no-browser"]) == 1
    assert f"port {port} cannot be used" in capsys.readouterr().err


def test_from_the_terminal_to_the_end(folder):
    """It starts, lets a browser in once, prints a link for another one, and ends quietly on Ctrl-C."""
    with started(folder, "--user", "grace") as studio:
        link = studio.link()
        with httpx2.Client(base_url=studio.url, follow_redirects=True) as client:
            assert client.get(link).status_code == 200
            answer = client.post("/api/overview", json={}, headers={"X-Tellapart": "studio"})
            assert answer.json()["actor"] == "grace"
        assert httpx2.get(link).status_code == 403
        for _ in range(100):
            if studio.link() != link:
                break
            signal.sigtimedwait([], 0.05)
        assert httpx2.get(studio.link()).status_code == 303
        studio.process.send_signal(signal.SIGINT)
        assert studio.process.wait(20) == 0


def loaded_by(*code: str) -> set[str]:
    """Modules in a fresh interpreter after running the lines."""
    script = "\n".join([*code, "import sys; print(*sys.modules)"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_it_starts_on_a_run_without_what_takes_long_to_import(trained):
    code = (
        "from tellapart.cli.app import run",
        "from tellapart.studio import server",
        "server.serve = lambda app, listener, on_ready: on_ready()",
        f"assert run(['studio', {str(trained.folder)!r}, '--no-browser']) == 0",
    )
    loaded = loaded_by(*code)
    assert "tellapart.studio.app" in loaded
    assert not loaded & {"torch", "sklearn", "scipy", "matplotlib", "onnxruntime", "ray"}


def test_help_does_not_import_it():
    loaded = loaded_by("from tellapart.cli.app import run", "run(['studio', '--help'])")
    assert "tellapart.cli.studio" in loaded
    assert not loaded & {"tellapart.studio", "tellapart.notebook", "starlette", "uvicorn", "numpy"}
