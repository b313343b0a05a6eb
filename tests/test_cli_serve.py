"""`tellapart serve`: what becomes of its options, and one service from the terminal to its end."""

import json
import re
import signal
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from pictures import encode, solid
from tellapart.cli.app import run
from tellapart.serving import supervisor
from tellapart.serving.keys import Keys
from tellapart.serving.settings import Settings


@pytest.fixture
def served(monkeypatch) -> list[Settings]:
    """The settings that would have been served."""
    seen: list[Settings] = []

    def serve(settings, *, on_ready):
        seen.append(settings)
        on_ready("http://127.0.0.1:8000")
        return 0

    monkeypatch.setattr(supervisor, "serve", serve)
    return seen


def test_options_become_settings(served, capsys):
    options = (
        "--port 0 --workers 2 --threads 3 --precision int8 --max-body-mb 0.5 --max-pixels-mp 1.5 "
        "--max-images 4 --max-batch 6 --max-wait-ms 2 --queue-size 9 --timeout-s 3 --drain-s 0 "
        "--rate-limit 7 --allowed-host a.example --allowed-host b.example "
        "--allow-urls --url-host pictures.example --url-port 8080 --allow-private-urls"
    )
    assert run(["serve", "somewhere/photos", "lesions=elsewhere/run", *options.split()]) == 0
    assert served == [
        Settings(
            models={"photos": Path("somewhere/photos"), "lesions": Path("elsewhere/run")},
            port=0,
            workers=2,
            threads=3,
            precision="int8",
            max_body_bytes=500_000,
            max_pixels=1_500_000,
            max_images=4,
            max_batch=6,
            max_wait_ms=2,
            queue_size=9,
            request_timeout_s=3,
            drain_s=0,
            rate_per_s=7,
            allowed_hosts=("a.example", "b.example"),
            url_scoring=True,
            url_hosts=("pictures.example",),
            url_ports=(8080,),
            url_allow_private=True,
        )
    ]
    assert "serving photos, lesions at http://127.0.0.1:8000 (from this machine, without a key)" in (
        capsys.readouterr().out
    )


def test_without_options_the_defaults_hold(served):
    assert run(["serve", "photos"]) == 0
    assert served == [Settings(models={"photos": Path("photos")})]


@pytest.mark.parametrize(
    ("path", "name"),
    [("runs/photos", "photos"), ("runs/photos/model", "photos"), ("runs/photos/model-int8", "photos"),
     ("runs/my photos (2)", "my-photos-2-"), ("runs/.hidden", "hidden")],
)  # fmt: skip
def test_a_model_without_a_name_is_called_as_its_run(served, path, name):
    run(["serve", path])
    assert list(served[0].models) == [name]


def test_a_folder_with_an_equals_sign_is_a_path(served, tmp_path):
    (tmp_path / "lr=0.1").mkdir()
    run(["serve", str(tmp_path / "lr=0.1")])
    assert dict(served[0].models) == {"lr-0.1": tmp_path / "lr=0.1"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["photos", "--host", "0.0.0.0"], "--host 0.0.0.0 --keys FILE --new-key` makes a key"),
        (["photos", "--host", "0.0.0.0", "--no-auth"], "so it is refused"),
        (["photos", "--keys", "k.json", "--no-auth"], "contradict each other"),
        (["photos", "--keys", "k.json"], "there are no keys in k.json; add --new-key"),
        (["photos", "--new-key"], "needs a file"),
        (["photos", "--url-host", "a.example"], "add --allow-urls"),
        (["photos", "--max-body-mb", "0"], "--max-body-mb is 0"),
        (["photos", "--max-pixels-mp", "nan"], "--max-pixels-mp is nan"),
        (["a/photos", "b/photos"], "two models are called photos"),
        (["a b=photos"], "cannot be a model's name"),
        (["photos", "--queue-size", "0"], "queue_size is 0"),
    ],
)
def test_mistakes_are_explained_in_one_line_and_nothing_is_served(
    served, tmp_path, monkeypatch, capsys, arguments, says
):
    monkeypatch.chdir(tmp_path)
    assert run(["serve", *arguments]) == 1
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert served == []


def test_a_model_that_is_missing_is_told(tmp_path, capsys):
    assert run(["serve", str(tmp_path / "nowhere"), "--port", "0"]) == 1
    assert "no model at" in capsys.readouterr().err


def test_a_new_key_is_printed_once_and_kept_hashed(served, tmp_path, capsys):
    file = tmp_path / "keys.json"
    assert run(["serve", "photos", "--host", "0.0.0.0", "--keys", str(file), "--new-key"]) == 0
    printed = capsys.readouterr()
    key = re.search(r"^key \w+: (\S+)$", printed.out, re.MULTILINE)[1]
    assert Keys.open(file).accepts(key.encode())
    assert (printed.out + printed.err).count(key) == 1
    assert key not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run(["serve", "photos", "--host", "0.0.0.0", "--keys", str(file)]) == 0
    assert key not in capsys.readouterr().out
    assert served[-1].keys_file == file


def test_a_refused_start_makes_no_key(served, tmp_path):
    file = tmp_path / "keys.json"
    assert run(["serve", "a b=photos", "--keys", str(file), "--new-key"]) == 1
    assert not file.exists()


def test_from_the_terminal_to_the_end(trained):
    """Serves as a user would start it, answers, and ends with status 0 on Ctrl-C."""
    command = [
        sys.executable,
        "-m",
        "tellapart",
        "serve",
        f"photos={trained.folder}",
        "--port",
        "0",
        "--drain-s",
        "0",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = next(line for line in process.stdout if line.startswith("serving"))
        url = re.search(r"at (http://127\.0\.0\.1:\d+) ", line)[1]
        request = urllib.request.Request(
            f"{url}/v1/predict", encode(solid("red"), "JPEG"), {"Content-Type": "image/jpeg"}
        )
        with urllib.request.urlopen(request) as response:
            assert json.load(response)["model"] == "photos"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
