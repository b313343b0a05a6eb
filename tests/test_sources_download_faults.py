"""Filling a class from hosts with faults: those that pass leave no trace, those that stay are told."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downloads import PICTURES, fetch, files, offered
from image_host import ImageHost, answers, breaks_off, hosting
from isic_archive import serving
from isic_images import make_images
from isic_store import LASTING, PASSING, STALL, path_of
from tellapart.sources import transfer
from tellapart.sources.candidate import Candidate
from tellapart.sources.session import Unavailable

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
def test_a_passing_fault_leaves_no_trace(picture_host, download_folder, fault, tag):
    tags = {"no md5": '"abc-2"', "weak": 'W/"abc"', "none": None}
    if tag != "md5":
        picture_host.tag = lambda _content: tags[tag]
    picture_host.twists["/001.png"].extend(fault)
    fetched = fetch(picture_host, download_folder, 3)
    if tag != "md5" and picture_host.paths().count("/001.png") == 1:
        # A file of another picture, under a tag that is no checksum, is a picture like any other.
        assert fault[0](None).body == PICTURES[9]
        return
    assert files(download_folder) == {f"{number:03d}.png": PICTURES[number] for number in range(3)}
    assert fetched.refused == {}
    assert picture_host.paths().count("/001.png") == 1 + len(fault)


def test_a_broken_transfer_goes_on_where_it_broke_off(picture_host, download_folder):
    picture_host.twists["/000.png"].extend([breaks_off(2000), breaks_off(1000)])
    fetch(picture_host, download_folder, 1)
    asked = [(headers.get("range"), headers.get("if-range")) for _path, headers in picture_host.asked]
    tag = picture_host.tag(PICTURES[0])
    assert asked == [(None, None), ("bytes=2000-", tag), ("bytes=3000-", tag)]
    assert files(download_folder) == {"000.png": PICTURES[0]}


def test_progress_within_a_file_is_no_failed_attempt(picture_host, download_folder):
    picture_host.twists["/000.png"].extend([breaks_off(100)] * 20)
    assert fetch(picture_host, download_folder, 1, attempts=3).here == 1
    assert len(picture_host.asked) == 21


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(picture_host, download_folder):
    picture_host.twists["/000.png"].append(breaks_off(2000))

    def changing() -> Iterator[Candidate]:
        yield from offered(picture_host, 1)

    picture_host.twists["/000.png"].append(lambda _right: _replace_by(picture_host, "/000.png", PICTURES[30]))
    fetch(picture_host, download_folder, 1, changing())
    assert files(download_folder) == {"000.png": PICTURES[30]}


def _replace_by(host: ImageHost, path: str, content: bytes):
    host.files[path] = content
    return host._right(path, {})


@pytest.mark.parametrize("content_range", ["bytes 1-4999/5000", "bytes 0-1/2", "nonsense", ""])
def test_another_part_than_asked_for_is_not_appended(picture_host, download_folder, content_range):
    answer = answers(PICTURES[0][2000:], 206, Content_Range=content_range, ETag=picture_host.tag(PICTURES[0]))
    picture_host.twists["/000.png"].extend([breaks_off(2000), answer])
    fetch(picture_host, download_folder, 1)
    assert files(download_folder) == {"000.png": PICTURES[0]}


def test_a_rest_may_come_in_parts(picture_host, download_folder):
    content, tag = PICTURES[0], picture_host.tag(PICTURES[0])

    def only_1000(right):
        start = int(right.headers["Content-Range"].split()[1].split("-")[0])
        part = f"bytes {start}-{start + 999}/{len(content)}"
        return type(right)(right.body[:1000], 206, {"ETag": tag, "Content-Range": part})

    picture_host.twists["/000.png"].extend([breaks_off(500), only_1000, only_1000])
    assert fetch(picture_host, download_folder, 1, attempts=2).refused == {}
    assert files(download_folder) == {"000.png": content}
    assert len(picture_host.asked) == 4


def test_a_rest_longer_than_the_file_is_thrown_away(picture_host, download_folder):
    answer = answers(
        bytes(9000), 206, Content_Range="bytes 2000-10999/3000", ETag=picture_host.tag(PICTURES[0])
    )
    picture_host.twists["/000.png"].extend([breaks_off(2000), answer])
    fetch(picture_host, download_folder, 1)
    assert files(download_folder) == {"000.png": PICTURES[0]}


def test_a_body_without_a_length_ends_with_the_connection(picture_host, download_folder):
    picture_host.always["/000.png"] = answers(PICTURES[0], Content_Length=None)
    assert fetch(picture_host, download_folder, 1).refused == {}


def test_a_part_larger_than_the_file_is_thrown_away(picture_host, download_folder):
    picture_host.twists["/000.png"].extend([breaks_off(2000), answers(b"", 416, Content_Range="bytes */10")])
    fetch(picture_host, download_folder, 1)
    assert files(download_folder) == {"000.png": PICTURES[0]}


def test_a_tag_that_only_looks_like_an_md5_costs_one_more_transfer(picture_host, download_folder):
    picture_host.tag = lambda _content: '"' + "a" * 32 + '"'
    assert fetch(picture_host, download_folder, 2).refused == {}
    assert len(picture_host.asked) == 4


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


def test_through_faults_of_every_kind_every_hash_is_right(download_folder):
    images = [image for image in make_images(300) if image.public]
    with serving(images) as archive:
        archive.sprinkle((*PASSING, STALL, *LASTING), share=0.3)
        archive.retry_after = "1"
        gone = {path for path, planned in archive.faults.items() if planned[0] in LASTING}
        candidates = (Candidate(i.isic_id, f"{archive.url}{path_of(i)}", "ant") for i in images)
        fetched = fetch(archive, download_folder, len(images), candidates, timeout_s=0.5, connections=16)
    assert set(fetched.refused) == {Path(path).stem for path in gone}
    assert files(download_folder) == {
        f"{i.isic_id}.{i.suffix}": i.content for i in images if path_of(i) not in gone
    } | {name: b"" for name in files(download_folder) if name.startswith(".")}


# ------------------------------------------------------------------------ giving up


def test_a_server_that_is_gone_ends_the_run_and_what_arrived_stays(picture_host, download_folder):
    fetch(picture_host, download_folder, 3)
    picture_host.always = {f"/{number:03d}.png": answers(b"", 503) for number in range(3, 40)}
    with pytest.raises(Unavailable, match=r"8 images in a row could not be had.* answered 503.*run the same"):
        fetch(picture_host, download_folder, 30, attempts=2)
    assert len(files(download_folder)) == 3
    picture_host.always = {}
    assert fetch(picture_host, download_folder, 30).here == 30


def test_failures_here_and_there_do_not_end_a_run(picture_host, download_folder):
    picture_host.always = {f"/{number:03d}.png": answers(b"", 503) for number in range(0, 40, 2)}
    fetched = fetch(picture_host, download_folder, 20, attempts=1)
    assert (fetched.here, len(fetched.refused)) == (20, 20)


def test_an_error_of_the_list_ends_the_run(picture_host, download_folder):
    def broken() -> Iterator[Candidate]:
        yield from offered(picture_host, 5)
        raise Unavailable("no more pages")

    with pytest.raises(Unavailable, match="no more pages"):
        fetch(picture_host, download_folder, 10, broken())
    assert fetch(picture_host, download_folder, 10).here == 10


def test_one_image_cannot_take_for_ever(picture_host, download_folder, monkeypatch):
    monkeypatch.setattr(transfer, "MOST_SECONDS", 0.2)
    picture_host.always["/000.png"] = lambda right: type(right)(
        right.body, 200, right.headers, chunk_pause_s=0.15
    )
    fetched = fetch(picture_host, download_folder, 2, connections=2)
    assert list(fetched.refused) == ["000"]
    assert fetched.here == 2


def test_an_endless_file_is_cut_off(picture_host, download_folder, monkeypatch):
    monkeypatch.setattr(transfer, "MAX_IMAGE_BYTES", 10_000)
    picture_host.always["/000.png"] = answers(bytes(50_000), Content_Length=None)
    assert "more than 10,000 bytes" in fetch(picture_host, download_folder, 1).refused["000"]
    assert sorted(files(download_folder)) == ["001.png"]
