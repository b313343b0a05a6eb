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
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from image_host import ImageHost, after, answers, breaks_off, hosting
from isic_archive import serving
from isic_images import make_images
from isic_store import LASTING, PASSING, STALL, path_of
from pictures import class_picture, encode
from tellapart.errors import DataError
from tellapart.sources import download, transfer
from tellapart.sources.candidate import Candidate
from tellapart.sources.collection import Collection
from tellapart.sources.download import Fetched, Order, fetch_class
from tellapart.sources.session import Session, Unavailable

RNG = np.random.default_rng(0)
PICTURES = [encode(class_picture(RNG, number % 3)) for number in range(40)]
"""Forty different PNGs of 48x40 pixels, of about 5 kB each."""


@pytest.fixture
def host() -> Iterator[ImageHost]:
    with hosting() as host:
        host.files = {f"/{number:03d}.png": content for number, content in enumerate(PICTURES)}
        yield host


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def offered(host: ImageHost, n: int = len(PICTURES), **options: object) -> Iterator[Candidate]:
    """Candidates 000 and on, of the class ``ant``."""
    for number in range(n):
        yield Candidate(f"{number:03d}", f"{host.url}/{number:03d}.png", "ant", **options)


def fetch(
    host: ImageHost, out: Path, n: int, candidates: Iterator[Candidate] | None = None, **options
) -> Fetched:
    """Fetch `n` images of the class ``ant`` in a session and collection of their own."""
    of_session = {"first_pause_s": 0.001, "connections": 4, "timeout_s": 5.0}
    of_session |= {key: options.pop(key) for key in list(options) if key in (*of_session, "attempts")}
    with Session(allow_private=True, **of_session) as session, Collection(out, {}) as collection:
        wanted = {key: options.pop(key) for key in ("resize_px", "at_most") if key in options}
        order = Order("ant", n, **wanted)
        return fetch_class(session, collection, order, candidates or offered(host), **options)


def files(out: Path) -> dict[str, bytes]:
    """Name -> content of everything in the class's folder, hidden files too."""
    return {path.name: path.read_bytes() for path in (out / "ant").iterdir()}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# ----------------------------------------------------------------------------------- what works


def test_the_first_n_candidates_arrive_as_they_were_sent(host, out):
    fetched = fetch(host, out, 20)
    assert files(out) == {f"{number:03d}.png": PICTURES[number] for number in range(20)}
    assert fetched == Fetched("ant", 20, 20, 20, sum(map(len, PICTURES[:20])), {})
    assert not fetched.is_short
    assert len(host.asked) == 20
    assert host.connections <= 4


def test_what_is_here_is_not_asked_for_again_and_candidates_are_not_begun(host, out):
    fetch(host, out, 10)
    host.asked.clear()

    def explode() -> Iterator[Candidate]:
        raise AssertionError("nobody should ask for candidates")
        yield

    fetched = fetch(host, out, 10, explode())
    assert (fetched.here, fetched.new) == (10, 0)
    assert host.asked == []


def test_a_later_run_may_ask_for_more(host, out):
    fetch(host, out, 10)
    host.asked.clear()
    assert fetch(host, out, 15).new == 5
    assert sorted(host.paths()) == [f"/{number:03d}.png" for number in range(10, 15)]


def test_an_image_that_was_deleted_is_fetched_again(host, out):
    fetch(host, out, 5)
    (out / "ant" / "002.png").unlink()
    (out / "ant" / "003.png").write_bytes(b"cut short")
    host.asked.clear()
    assert fetch(host, out, 5).new == 2
    assert sorted(host.paths()) == ["/002.png", "/003.png"]
    assert files(out)["003.png"] == PICTURES[3]


def test_candidates_are_read_only_a_little_ahead(host, out):
    read = []
    endless = (
        read.append(number) or Candidate(f"{number}", f"{host.url}/{number % 40:03d}.png", "ant")
        for number in count()
    )
    fetch(host, out, 12, endless)
    assert len(read) == 12


def test_too_few_candidates_leave_the_class_short(host, out):
    fetched = fetch(host, out, 10, offered(host, 7))
    assert (fetched.here, fetched.is_short) == (7, True)


def test_the_suffix_is_that_of_the_content(host, out):
    kinds = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp", "GIF": "gif"}
    for number, kind in enumerate(kinds):
        host.files[f"/{number:03d}.png"] = encode(class_picture(RNG, number), kind)
    fetch(host, out, len(kinds))
    assert sorted(files(out)) == sorted(f"{number:03d}.{end}" for number, end in enumerate(kinds.values()))


@pytest.mark.parametrize("kind", ["image/jpeg", "binary/octet-stream", "application/octet-stream", ""])
def test_content_types_of_stores_are_taken(host, out, kind):
    host.always["/000.png"] = answers(PICTURES[0], Content_Type=kind)
    assert fetch(host, out, 1).refused == {}


# -------------------------------------------------------------------------- faults that pass


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param([answers(b"", 503)], id="503"),
        pytest.param([answers(b"", 429, Retry_After="0")] * 3, id="429"),
        pytest.param([breaks_off(0)], id="nothing"),
        pytest.param([breaks_off(2000)], id="short"),
        pytest.param([breaks_off(2000, reset=True)], id="reset"),
        pytest.param([breaks_off(at) for at in (500, 1000, 1500)], id="short again and again"),
        pytest.param([answers(b"<html>", Content_Type="text/html; charset=utf-8")], id="html"),
        pytest.param([answers(b"<html>", Content_Type="image/png")], id="html called an image"),
        pytest.param([answers(PICTURES[9][:3000])], id="half a file that claims to be whole"),
        pytest.param([answers(PICTURES[9], ETag='"' + "0" * 32 + '"')], id="wrong checksum"),
        pytest.param([answers(b"")], id="empty"),
    ],
)
@pytest.mark.parametrize("tag", ["md5", "no md5", "weak", "none"])
def test_a_passing_fault_leaves_no_trace(host, out, fault, tag):
    tags = {"no md5": '"abc-2"', "weak": 'W/"abc"', "none": None}
    if tag != "md5":
        host.tag = lambda _content: tags[tag]
    host.twists["/001.png"].extend(fault)
    fetched = fetch(host, out, 3)
    if tag != "md5" and host.paths().count("/001.png") == 1:
        # A file of another picture, under a tag that is no checksum, is a picture like any other.
        assert fault[0](None).body == PICTURES[9]
        return
    assert files(out) == {f"{number:03d}.png": PICTURES[number] for number in range(3)}
    assert fetched.refused == {}
    assert host.paths().count("/001.png") == 1 + len(fault)


def test_a_broken_transfer_goes_on_where_it_broke_off(host, out):
    host.twists["/000.png"].extend([breaks_off(2000), breaks_off(1000)])
    fetch(host, out, 1)
    asked = [(headers.get("range"), headers.get("if-range")) for _path, headers in host.asked]
    tag = host.tag(PICTURES[0])
    assert asked == [(None, None), ("bytes=2000-", tag), ("bytes=3000-", tag)]
    assert files(out) == {"000.png": PICTURES[0]}


def test_progress_within_a_file_is_no_failed_attempt(host, out):
    host.twists["/000.png"].extend([breaks_off(100)] * 20)
    assert fetch(host, out, 1, attempts=3).here == 1
    assert len(host.asked) == 21


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(host, out):
    host.twists["/000.png"].append(breaks_off(2000))

    def changing() -> Iterator[Candidate]:
        yield from offered(host, 1)

    host.twists["/000.png"].append(lambda _right: _replace_by(host, "/000.png", PICTURES[30]))
    fetch(host, out, 1, changing())
    assert files(out) == {"000.png": PICTURES[30]}


def _replace_by(host: ImageHost, path: str, content: bytes):
    host.files[path] = content
    return host._right(path, {})


@pytest.mark.parametrize("content_range", ["bytes 1-4999/5000", "bytes 0-1/2", "nonsense", ""])
def test_another_part_than_asked_for_is_not_appended(host, out, content_range):
    answer = answers(PICTURES[0][2000:], 206, Content_Range=content_range, ETag=host.tag(PICTURES[0]))
    host.twists["/000.png"].extend([breaks_off(2000), answer])
    fetch(host, out, 1)
    assert files(out) == {"000.png": PICTURES[0]}


def test_a_rest_may_come_in_parts(host, out):
    content, tag = PICTURES[0], host.tag(PICTURES[0])

    def only_1000(right):
        start = int(right.headers["Content-Range"].split()[1].split("-")[0])
        part = f"bytes {start}-{start + 999}/{len(content)}"
        return type(right)(right.body[:1000], 206, {"ETag": tag, "Content-Range": part})

    host.twists["/000.png"].extend([breaks_off(500), only_1000, only_1000])
    assert fetch(host, out, 1, attempts=2).refused == {}
    assert files(out) == {"000.png": content}
    assert len(host.asked) == 4


def test_a_rest_longer_than_the_file_is_thrown_away(host, out):
    answer = answers(bytes(9000), 206, Content_Range="bytes 2000-10999/3000", ETag=host.tag(PICTURES[0]))
    host.twists["/000.png"].extend([breaks_off(2000), answer])
    fetch(host, out, 1)
    assert files(out) == {"000.png": PICTURES[0]}


def test_a_body_without_a_length_ends_with_the_connection(host, out):
    host.always["/000.png"] = answers(PICTURES[0], Content_Length=None)
    assert fetch(host, out, 1).refused == {}


def test_a_part_larger_than_the_file_is_thrown_away(host, out):
    host.twists["/000.png"].extend([breaks_off(2000), answers(b"", 416, Content_Range="bytes */10")])
    fetch(host, out, 1)
    assert files(out) == {"000.png": PICTURES[0]}


def test_a_tag_that_only_looks_like_an_md5_costs_one_more_transfer(host, out):
    host.tag = lambda _content: '"' + "a" * 32 + '"'
    assert fetch(host, out, 2).refused == {}
    assert len(host.asked) == 4


@settings(max_examples=25, deadline=None)
@given(
    plan=st.lists(st.integers(0, 6000), max_size=6),
    tag=st.sampled_from([None, '"x.1~%2E/"', '"é"', 'W/"1"', '"' + "%" * 80 + '"', '"unfinished', ""]),
)
def test_wherever_a_transfer_breaks_off_the_bytes_are_right(tmp_path_factory, plan, tag):
    with hosting() as host:
        host.files["/000.png"] = PICTURES[0]
        host.tag = lambda _content: tag
        host.twists["/000.png"].extend(breaks_off(at) for at in plan)
        out = tmp_path_factory.mktemp("out") / "out"
        assert fetch(host, out, 1, offered(host, 1), attempts=9).here == 1
        assert files(out) == {"000.png": PICTURES[0]}


def test_through_faults_of_every_kind_every_hash_is_right(out):
    images = [image for image in make_images(300) if image.public]
    with serving(images) as archive:
        archive.sprinkle((*PASSING, STALL, *LASTING), share=0.3)
        archive.retry_after = "1"
        gone = {path for path, planned in archive.faults.items() if planned[0] in LASTING}
        candidates = (Candidate(i.isic_id, f"{archive.url}{path_of(i)}", "ant") for i in images)
        fetched = fetch(archive, out, len(images), candidates, timeout_s=0.5, connections=16)
    assert set(fetched.refused) == {Path(path).stem for path in gone}
    assert files(out) == {f"{i.isic_id}.{i.suffix}": i.content for i in images if path_of(i) not in gone} | {
        name: b"" for name in files(out) if name.startswith(".")
    }


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
def test_a_refused_image_is_noted_and_the_next_takes_its_place(host, out, twist, reason):
    host.always["/001.png"] = twist
    fetched = fetch(host, out, 5)
    assert sorted(files(out)) == ["000.png", "002.png", "003.png", "004.png", "005.png"]
    assert list(fetched.refused) == ["001"]
    assert reason in fetched.refused["001"]
    host.asked.clear()
    fetch(host, out, 7)  # a later run does not ask for it again
    assert sorted(host.paths()) == ["/006.png", "/007.png"]


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
def test_what_stays_wrong_is_replaced_but_a_later_run_may_try_it(host, out, twist):
    host.always["/001.png"] = twist
    fetched = fetch(host, out, 5, attempts=6)
    assert list(fetched.refused) == ["001"]
    assert fetched.here == 5
    assert "001.png" not in files(out)
    del host.always["/001.png"]
    assert fetch(host, out, 6).here == 6
    assert files(out)["001.png"] == PICTURES[1]


def test_the_announced_size_must_be_right(host, out):
    sizes = {0: (48, 40), 1: (40, 48), 2: (48, 41), 3: None}
    candidates = (
        Candidate(f"{number:03d}", f"{host.url}/{number:03d}.png", "ant", size_px=size)
        for number, size in sizes.items()
    )
    fetched = fetch(host, out, 4, candidates)
    assert fetched.refused == {"002": "the image is 48x40, not 48x41 as announced"}
    assert sorted(files(out)) == ["000.png", "001.png", "003.png"]


def test_the_same_bytes_are_kept_once(host, out):
    host.files["/001.png"] = PICTURES[0]
    fetched = fetch(host, out, 3)
    # Whichever of the two comes first is kept: threads check what has arrived.
    [(late, reason)] = fetched.refused.items()
    kept = {"000": "001", "001": "000"}[late]
    assert reason == f"the very same bytes are here already, as ant/{kept}.png"
    assert sorted(files(out)) == [f"{kept}.png", "002.png", "003.png"]


@pytest.mark.parametrize("bad", ["../000", "a/b", ".hidden", "", "a\0b", "a b", "x" * 101, "ä" * 60, "CON:1"])
def test_an_id_that_is_no_file_name_is_refused(host, out, bad):
    candidates = [Candidate(bad, f"{host.url}/000.png", "ant"), *offered(host, 2)]
    fetched = fetch(host, out, 2, iter(candidates))
    assert list(fetched.refused) == [bad]
    assert {path.name for path in out.iterdir()} == {".tellapart", "ant"}
    assert host.paths().count("/000.png") == 1


def test_a_refused_image_of_a_lesion_is_replaced_by_another_of_it(host, out):
    lesions = ["a", "a", "a", "b", "a"]
    photographs = [
        Candidate(f"{number:03d}", f"{host.url}/{number:03d}.png", "ant", metadata={"lesion": lesion})
        for number, lesion in enumerate(lesions)
    ]
    host.always["/000.png"] = answers(b"", 403)
    host.always["/001.png"] = answers(b"", 503)
    fetched = fetch(host, out, 2, iter(photographs), at_most=(1, "lesion"), attempts=1)
    assert sorted(files(out)) == ["002.png", "003.png"]
    assert list(fetched.refused) == ["000", "001"]
    host.always = {}
    fetched = fetch(host, out, 5, iter(photographs), at_most=(1, "lesion"))
    assert (fetched.here, fetched.is_short) == (2, True)  # the first ones are not needed any more


# ------------------------------------------------------------------------ giving up


def test_a_server_that_is_gone_ends_the_run_and_what_arrived_stays(host, out):
    fetch(host, out, 3)
    host.always = {f"/{number:03d}.png": answers(b"", 503) for number in range(3, 40)}
    with pytest.raises(Unavailable, match=r"8 images in a row could not be had.* answered 503.*run the same"):
        fetch(host, out, 30, attempts=2)
    assert len(files(out)) == 3
    host.always = {}
    assert fetch(host, out, 30).here == 30


def test_failures_here_and_there_do_not_end_a_run(host, out):
    host.always = {f"/{number:03d}.png": answers(b"", 503) for number in range(0, 40, 2)}
    fetched = fetch(host, out, 20, attempts=1)
    assert (fetched.here, len(fetched.refused)) == (20, 20)


def test_an_error_of_the_list_ends_the_run(host, out):
    def broken() -> Iterator[Candidate]:
        yield from offered(host, 5)
        raise Unavailable("no more pages")

    with pytest.raises(Unavailable, match="no more pages"):
        fetch(host, out, 10, broken())
    assert fetch(host, out, 10).here == 10


def test_one_image_cannot_take_for_ever(host, out, monkeypatch):
    monkeypatch.setattr(transfer, "MOST_SECONDS", 0.2)
    host.always["/000.png"] = lambda right: type(right)(right.body, 200, right.headers, chunk_pause_s=0.15)
    fetched = fetch(host, out, 2, connections=2)
    assert list(fetched.refused) == ["000"]
    assert fetched.here == 2


def test_an_endless_file_is_cut_off(host, out, monkeypatch):
    monkeypatch.setattr(transfer, "MAX_IMAGE_BYTES", 10_000)
    host.always["/000.png"] = answers(bytes(50_000), Content_Length=None)
    assert "more than 10,000 bytes" in fetch(host, out, 1).refused["000"]
    assert sorted(files(out)) == ["001.png"]


# ------------------------------------------------------------------------ disks


def test_a_full_disk_is_one_line_and_loses_nothing(host, out, monkeypatch):
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
            fetch(host, out, 20)
    arrived = {name: content for name, content in files(out).items() if not name.startswith(".")}
    assert all(content == PICTURES[int(name[:3])] for name, content in arrived.items())
    host.asked.clear()
    assert fetch(host, out, 20).here == 20
    assert not {f"/{name}" for name in arrived} & set(host.paths())
    assert len(files(out)) == 20


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
def test_an_interrupted_run_goes_on_without_loading_anything_twice(host, out, signal_number):
    slowly = lambda right: type(right)(right.body, right.status, right.headers, chunk_pause_s=0.01)  # noqa: E731
    host.always = dict.fromkeys(host.files, slowly)
    process = child(host, out)
    wait_for(lambda: len(list(out.glob("ant/[0-9]*"))) >= 8)
    process.send_signal(signal_number)
    started = time.monotonic()
    printed = process.communicate(timeout=20)[0]
    assert time.monotonic() - started < 5
    assert printed == ("" if signal_number == signal.SIGKILL else "interrupted\n")
    before = files(out)
    finished = {name for name in before if not name.startswith(".")}
    begun = {name for name in before if name.startswith(".") and before[name]}
    assert 8 <= len(finished) < len(PICTURES)
    assert all(before[name] == PICTURES[int(name[:3])] for name in finished)

    host.asked.clear()
    assert fetch(host, out, len(PICTURES)).here == len(PICTURES)
    assert files(out) == {f"{number:03d}.png": content for number, content in enumerate(PICTURES)}
    assert not {f"/{name}" for name in finished} & set(host.paths())
    resumed = [path for path, headers in host.asked if "range" in headers]
    assert len(resumed) == len(begun)


def test_a_file_that_had_come_in_full_is_not_loaded_again(host, out):
    # What a kill between the last byte and the final name leaves behind.
    folder = out / "ant"
    with Collection(out, {}):
        folder.mkdir()
    part = transfer.Transfer(None, next(offered(host)), folder)._part_for(host.tag(PICTURES[0]))
    part.write_bytes(PICTURES[0])
    assert fetch(host, out, 1).n_bytes == len(PICTURES[0])
    assert [headers.get("range") for _path, headers in host.asked] == [f"bytes={len(PICTURES[0])}-"]
    assert files(out) == {"000.png": PICTURES[0]}


def test_ctrl_c_does_not_wait_for_a_silent_server(host, out, monkeypatch):
    monkeypatch.setattr(download, "_PATIENCE_S", 0.3)
    host.always["/003.png"] = after(1.5)

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
        fetch(host, out, 10, progress=Interrupts())
    assert time.monotonic() - started < 1.2
    for thread in threading.enumerate():
        if thread.name.startswith("fetch "):
            thread.join(5)
    assert "003.png" not in files(out)


# ------------------------------------------------------------------------ resizing, local files


def test_larger_images_are_resized_on_arrival(host, out):
    big, small = class_picture(RNG, 0, (300, 200)), class_picture(RNG, 1, (90, 60))
    host.files = {
        "/000.png": encode(big, "JPEG", quality=95),
        "/001.png": encode(big),
        "/002.png": encode(small),
    }
    fetch(host, out, 3, offered(host, 3, size_px=None), resize_px=100)
    found = files(out)
    assert found["002.png"] == host.files["/002.png"]
    for name in ("000.jpg", "001.png"):
        with Image.open(io.BytesIO(found[name])) as image:
            assert image.size == (150, 100)
            close = np.asarray(image, int) - np.asarray(big.resize((150, 100), Image.Resampling.BICUBIC), int)
        assert np.abs(close).mean() < 4
    with Collection(out, {}) as collection:
        arrival = collection.arrived("ant")["000"]
    assert arrival.source_sha256 == digest(host.files["/000.png"])
    assert (arrival.sha256, arrival.n_bytes) == (digest(found["000.jpg"]), len(found["000.jpg"]))
    assert arrival.size_px == (150, 100)


def test_files_of_this_machine_are_copied_only_where_that_is_allowed(host, out, tmp_path):
    path = tmp_path / "my photo.png"
    path.write_bytes(PICTURES[5])
    mine = Candidate("mine", path.as_uri(), "ant")
    fetched = fetch(host, out, 1, iter([mine]))
    assert "named by somebody else" in fetched.refused["mine"]
    other = out.with_name("other")
    gone = Candidate("gone", (tmp_path / "gone.png").as_uri(), "ant")
    text = tmp_path / "text.png"
    text.write_text("no picture")
    bad = Candidate("bad", text.as_uri(), "ant")
    huge = Candidate("huge", (tmp_path / "huge.png").as_uri(), "ant")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(transfer.MAX_IMAGE_BYTES + 1)
    fetched = fetch(host, other, 3, iter([mine, gone, bad, huge]), allow_files=True)
    assert "no such file" in fetched.refused["gone"]
    assert "not an image" in fetched.refused["bad"]
    assert "more than 500,000,000 bytes" in fetched.refused["huge"]
    assert files(other)["mine.png"] == PICTURES[5] == path.read_bytes()
