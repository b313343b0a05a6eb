"""Filling a class: what is checked, what takes a refused image's place, and how a run goes on."""

import hashlib
import io
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from downloads import PICTURES, RNG, fetch, files, offered
from image_host import ImageHost, after, answers
from pictures import class_picture, encode
from tellapart.errors import DataError
from tellapart.sources import download, transfer
from tellapart.sources.candidate import Candidate
from tellapart.sources.collection import Collection
from tellapart.sources.download import Fetched


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# ----------------------------------------------------------------------------------- what works


def test_the_first_n_candidates_arrive_as_they_were_sent(picture_host, download_folder):
    fetched = fetch(picture_host, download_folder, 20)
    assert files(download_folder) == {f"{number:03d}.png": PICTURES[number] for number in range(20)}
    assert fetched == Fetched("ant", 20, 20, 20, sum(map(len, PICTURES[:20])), {})
    assert not fetched.is_short
    assert len(picture_host.asked) == 20
    assert picture_host.connections <= 4


def test_what_is_here_is_not_asked_for_again_and_candidates_are_not_begun(picture_host, download_folder):
    fetch(picture_host, download_folder, 10)
    picture_host.asked.clear()

    def explode() -> Iterator[Candidate]:
        raise AssertionError("nobody should ask for candidates")
        yield

    fetched = fetch(picture_host, download_folder, 10, explode())
    assert (fetched.here, fetched.new) == (10, 0)
    assert picture_host.asked == []


def test_a_later_run_may_ask_for_more(picture_host, download_folder):
    fetch(picture_host, download_folder, 10)
    picture_host.asked.clear()
    assert fetch(picture_host, download_folder, 15).new == 5
    assert sorted(picture_host.paths()) == [f"/{number:03d}.png" for number in range(10, 15)]


def test_an_image_that_was_deleted_is_fetched_again(picture_host, download_folder):
    fetch(picture_host, download_folder, 5)
    (download_folder / "ant" / "002.png").unlink()
    (download_folder / "ant" / "003.png").write_bytes(b"cut short")
    picture_host.asked.clear()
    assert fetch(picture_host, download_folder, 5).new == 2
    assert sorted(picture_host.paths()) == ["/002.png", "/003.png"]
    assert files(download_folder)["003.png"] == PICTURES[3]


def test_candidates_are_read_only_a_little_ahead(picture_host, download_folder):
    read = []
    endless = (
        read.append(number) or Candidate(f"{number}", f"{picture_host.url}/{number % 40:03d}.png", "ant")
        for number in count()
    )
    fetch(picture_host, download_folder, 12, endless)
    assert len(read) == 12


def test_too_few_candidates_leave_the_class_short(picture_host, download_folder):
    fetched = fetch(picture_host, download_folder, 10, offered(picture_host, 7))
    assert (fetched.here, fetched.is_short) == (7, True)


def test_the_suffix_is_that_of_the_content(picture_host, download_folder):
    kinds = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp", "GIF": "gif"}
    for number, kind in enumerate(kinds):
        picture_host.files[f"/{number:03d}.png"] = encode(class_picture(RNG, number), kind)
    fetch(picture_host, download_folder, len(kinds))
    assert sorted(files(download_folder)) == sorted(
        f"{number:03d}.{end}" for number, end in enumerate(kinds.values())
    )


@pytest.mark.parametrize("kind", ["image/jpeg", "binary/octet-stream", "application/octet-stream", ""])
def test_content_types_of_stores_are_taken(picture_host, download_folder, kind):
    picture_host.always["/000.png"] = answers(PICTURES[0], Content_Type=kind)
    assert fetch(picture_host, download_folder, 1).refused == {}


# ------------------------------------------------------------------- what can never be had


@pytest.mark.parametrize(
    ("twist", "reason"),
    [
        (answers(b"<Error/>", 403), "answered 403"),
        (answers(b"<Error/>", 404), "answered 404"),
        (answers(PICTURES[1], Content_Encoding="gzip"), "compressed once more"),
        (answers(b"", 302, Location="/001.png"), "redirects more than"),
        (answers(b"", Content_Length="600000000"), "600,000,000 bytes"),
        (answers(b"", 416), "416 to a request for the whole file"),
    ],
)
def test_a_refused_image_is_noted_and_the_next_takes_its_place(picture_host, download_folder, twist, reason):
    picture_host.always["/001.png"] = twist
    fetched = fetch(picture_host, download_folder, 5)
    assert sorted(files(download_folder)) == ["000.png", "002.png", "003.png", "004.png", "005.png"]
    assert list(fetched.refused) == ["001"]
    assert reason in fetched.refused["001"]
    picture_host.asked.clear()
    fetch(picture_host, download_folder, 7)  # a later run does not ask for it again
    assert sorted(picture_host.paths()) == ["/006.png", "/007.png"]


@pytest.mark.parametrize(
    "twist",
    [
        answers(b"<html>", Content_Type="text/html"),
        answers(b'{"a": 1}', Content_Type="application/json"),
        answers(b"<svg/>", Content_Type="image/svg+xml"),
        answers(b"no image at all"),
        answers(PICTURES[1][:-2000]),
        answers(b"", 500),
    ],
)
def test_what_stays_wrong_is_replaced_but_a_later_run_may_try_it(picture_host, download_folder, twist):
    picture_host.always["/001.png"] = twist
    fetched = fetch(picture_host, download_folder, 5, attempts=6)
    assert list(fetched.refused) == ["001"]
    assert fetched.here == 5
    assert "001.png" not in files(download_folder)
    del picture_host.always["/001.png"]
    assert fetch(picture_host, download_folder, 6).here == 6
    assert files(download_folder)["001.png"] == PICTURES[1]


def test_the_announced_size_must_be_right(picture_host, download_folder):
    sizes = {0: (48, 40), 1: (40, 48), 2: (48, 41), 3: None}
    candidates = (
        Candidate(f"{number:03d}", f"{picture_host.url}/{number:03d}.png", "ant", size_px=size)
        for number, size in sizes.items()
    )
    fetched = fetch(picture_host, download_folder, 4, candidates)
    assert fetched.refused == {"002": "the image is 48x40, not 48x41 as announced"}
    assert sorted(files(download_folder)) == ["000.png", "001.png", "003.png"]


def test_the_same_bytes_are_kept_once(picture_host, download_folder):
    picture_host.files["/001.png"] = PICTURES[0]
    fetched = fetch(picture_host, download_folder, 3)
    # Whichever of the two comes first is kept: threads check what has arrived.
    [(late, reason)] = fetched.refused.items()
    kept = {"000": "001", "001": "000"}[late]
    assert reason == f"the very same bytes are here already, as ant/{kept}.png"
    assert sorted(files(download_folder)) == [f"{kept}.png", "002.png", "003.png"]


@pytest.mark.parametrize("bad", ["../000", "a/b", ".hidden", "", "a\0b", "a b", "x" * 101, "ä" * 60, "CON:1"])
def test_an_id_that_is_no_file_name_is_refused(picture_host, download_folder, bad):
    candidates = [Candidate(bad, f"{picture_host.url}/000.png", "ant"), *offered(picture_host, 2)]
    fetched = fetch(picture_host, download_folder, 2, iter(candidates))
    assert list(fetched.refused) == [bad]
    assert {path.name for path in download_folder.iterdir()} == {".tellapart", "ant"}
    assert picture_host.paths().count("/000.png") == 1


def test_a_refused_image_of_a_lesion_is_replaced_by_another_of_it(picture_host, download_folder):
    lesions = ["a", "a", "a", "b", "a"]
    photographs = [
        Candidate(f"{number:03d}", f"{picture_host.url}/{number:03d}.png", "ant", metadata={"lesion": lesion})
        for number, lesion in enumerate(lesions)
    ]
    picture_host.always["/000.png"] = answers(b"", 403)
    picture_host.always["/001.png"] = answers(b"", 503)
    fetched = fetch(picture_host, download_folder, 2, iter(photographs), at_most=(1, "lesion"), attempts=1)
    assert sorted(files(download_folder)) == ["002.png", "003.png"]
    assert list(fetched.refused) == ["000", "001"]
    picture_host.always = {}
    fetched = fetch(picture_host, download_folder, 5, iter(photographs), at_most=(1, "lesion"))
    assert (fetched.here, fetched.is_short) == (2, True)  # the first ones are not needed any more


# ------------------------------------------------------------------------ disks


def test_a_full_disk_is_one_line_and_loses_nothing(picture_host, download_folder, monkeypatch):
    real = Path.open
    allowed = iter(range(8))

    def full(self, mode="r", *args, **options):
        if self.suffix == ".part" and "r" not in mode and next(allowed, None) is None:
            raise OSError(28, "No space left on device", str(self))
        return real(self, mode, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(
            DataError, match=r"cannot write to .*no space left on device.*run the same command"
        ):
            fetch(picture_host, download_folder, 20)
    arrived = {name: content for name, content in files(download_folder).items() if not name.startswith(".")}
    assert all(content == PICTURES[int(name[:3])] for name, content in arrived.items())
    picture_host.asked.clear()
    assert fetch(picture_host, download_folder, 20).here == 20
    assert not {f"/{name}" for name in arrived} & set(picture_host.paths())
    assert len(files(download_folder)) == 20


# ------------------------------------------------------------------------ interruptions


CHILD = """
import sys
from pathlib import Path
from tellapart.sources.candidate import Candidate
from tellapart.sources.collection import Collection
from tellapart.sources.download import Order, fetch_class
from tellapart.sources.session import Session

url, out, n = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
candidates = (Candidate(f"{i:03d}", f"{url}/{i:03d}.png", "ant") for i in range(n))
with Session(allow_private=True, connections=4) as session, Collection(out, {}) as collection:
    try:
        print(fetch_class(session, collection, Order("ant", n), candidates).here, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def child(host: ImageHost, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, host.url, str(out), str(len(PICTURES))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(what, timeout_s: float = 20) -> None:
    until = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_goes_on_without_loading_anything_twice(
    picture_host, download_folder, signal_number
):
    slowly = lambda right: type(right)(right.body, right.status, right.headers, chunk_pause_s=0.01)  # noqa: E731
    picture_host.always = dict.fromkeys(picture_host.files, slowly)
    process = child(picture_host, download_folder)
    wait_for(lambda: len(list(download_folder.glob("ant/[0-9]*"))) >= 8)
    process.send_signal(signal_number)
    started = time.monotonic()
    printed = process.communicate(timeout=20)[0]
    assert time.monotonic() - started < 5
    assert printed == ("" if signal_number == signal.SIGKILL else "interrupted\n")
    before = files(download_folder)
    finished = {name for name in before if not name.startswith(".")}
    begun = {name for name in before if name.startswith(".") and before[name]}
    assert 8 <= len(finished) < len(PICTURES)
    assert all(before[name] == PICTURES[int(name[:3])] for name in finished)

    picture_host.asked.clear()
    assert fetch(picture_host, download_folder, len(PICTURES)).here == len(PICTURES)
    assert files(download_folder) == {f"{number:03d}.png": content for number, content in enumerate(PICTURES)}
    assert not {f"/{name}" for name in finished} & set(picture_host.paths())
    resumed = [path for path, headers in picture_host.asked if "range" in headers]
    assert len(resumed) == len(begun)


def test_a_file_that_had_come_in_full_is_not_loaded_again(picture_host, download_folder):
    # What a kill between the last byte and the final name leaves behind.
    folder = download_folder / "ant"
    with Collection(download_folder, {}):
        folder.mkdir()
    part = transfer.Transfer(None, next(offered(picture_host)), folder)._part_for(
        picture_host.tag(PICTURES[0])
    )
    part.write_bytes(PICTURES[0])
    assert fetch(picture_host, download_folder, 1).n_bytes == len(PICTURES[0])
    assert [headers.get("range") for _path, headers in picture_host.asked] == [f"bytes={len(PICTURES[0])}-"]
    assert files(download_folder) == {"000.png": PICTURES[0]}


def test_ctrl_c_does_not_wait_for_a_silent_server(picture_host, download_folder, monkeypatch):
    monkeypatch.setattr(download, "_PATIENCE_S", 0.3)
    picture_host.always["/003.png"] = after(1.5)

    class Interrupts:
        """Progress whose third image is met by Ctrl-C."""

        def __init__(self) -> None:
            self.n = 0

        def say(self, message: str) -> None:
            raise AssertionError

        def track(self, *_: object, **__: object):
            return self

        def __enter__(self):
            return self.advance

        def __exit__(self, *_: object) -> None:
            pass

        def advance(self, n: int) -> None:
            self.n += n
            if self.n == 3:
                raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch(picture_host, download_folder, 10, progress=Interrupts())
    assert time.monotonic() - started < 1.2
    for thread in threading.enumerate():
        if thread.name.startswith("fetch "):
            thread.join(5)
    assert "003.png" not in files(download_folder)


# ------------------------------------------------------------------------ resizing, local files


def test_larger_images_are_resized_on_arrival(picture_host, download_folder):
    big, small = class_picture(RNG, 0, (300, 200)), class_picture(RNG, 1, (90, 60))
    picture_host.files = {
        "/000.png": encode(big, "JPEG", quality=95),
        "/001.png": encode(big),
        "/002.png": encode(small),
    }
    fetch(picture_host, download_folder, 3, offered(picture_host, 3, size_px=None), resize_px=100)
    found = files(download_folder)
    assert found["002.png"] == picture_host.files["/002.png"]
    for name in ("000.jpg", "001.png"):
        with Image.open(io.BytesIO(found[name])) as image:
            assert image.size == (150, 100)
            close = np.asarray(image, int) - np.asarray(big.resize((150, 100), Image.Resampling.BICUBIC), int)
        assert np.abs(close).mean() < 4
    with Collection(download_folder, {}) as collection:
        arrival = collection.arrived("ant")["000"]
    assert arrival.source_sha256 == digest(picture_host.files["/000.png"])
    assert (arrival.sha256, arrival.n_bytes) == (digest(found["000.jpg"]), len(found["000.jpg"]))
    assert arrival.size_px == (150, 100)


def test_files_of_this_machine_are_copied_only_where_that_is_allowed(picture_host, download_folder, tmp_path):
    path = tmp_path / "my photo.png"
    path.write_bytes(PICTURES[5])
    mine = Candidate("mine", path.as_uri(), "ant")
    fetched = fetch(picture_host, download_folder, 1, iter([mine]))
    assert "named by somebody else" in fetched.refused["mine"]
    other = download_folder.with_name("other")
    gone = Candidate("gone", (tmp_path / "gone.png").as_uri(), "ant")
    text = tmp_path / "text.png"
    text.write_text("no picture")
    bad = Candidate("bad", text.as_uri(), "ant")
    huge = Candidate("huge", (tmp_path / "huge.png").as_uri(), "ant")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(transfer.MAX_IMAGE_BYTES + 1)
    fetched = fetch(picture_host, other, 3, iter([mine, gone, bad, huge]), allow_files=True)
    assert "no such file" in fetched.refused["gone"]
    assert "not an image" in fetched.refused["bad"]
    assert "more than 500,000,000 bytes" in fetched.refused["huge"]
    assert files(other)["mine.png"] == PICTURES[5] == path.read_bytes()
