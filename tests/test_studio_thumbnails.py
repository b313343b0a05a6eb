"""Small pictures: made once, kept in the cache, never in the way."""

import io
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from pictures import solid, write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError
from tellapart.records import Sample
from tellapart.studio import thumbnails
from tellapart.studio.thumbnails import FILE, Thumbnails, broken


@pytest.fixture
def samples(tmp_path, fresh_cache):
    return Dataset.from_folder(
        write_class_folders(tmp_path / "photos", {"a": 3, "b": 2}, size=(400, 250))
    ).samples


@pytest.fixture
def decoded(monkeypatch):
    """Paths that were decoded."""
    seen: list[Path] = []
    real = thumbnails.thumbnail
    monkeypatch.setattr(thumbnails, "thumbnail", lambda path, edge: seen.append(path) or real(path, edge))
    return seen


def size_of(content: bytes) -> tuple[int, int]:
    image = Image.open(io.BytesIO(content))
    assert image.format == "JPEG"
    return image.size


def n_kept(folder: Path) -> int:
    with sqlite3.connect(folder / FILE) as connection:
        return connection.execute("SELECT count(*) FROM thumbnail").fetchone()[0]


def test_two_sizes(samples):
    pictures = Thumbnails(samples)
    assert size_of(pictures.get(0)) == (160, 100)
    assert size_of(pictures.get(0, 320)) == (320, 200)
    with pytest.raises(ConfigError, match="accepted: "):
        pictures.get(0, 5000)


def test_each_is_made_once_even_by_another_studio(samples, decoded):
    first = Thumbnails(samples).get(0)
    assert Thumbnails(samples).get(0) == first
    assert decoded == [samples[0].path]


def test_a_file_that_changed_is_decoded_anew(samples, decoded):
    pictures = Thumbnails(samples)
    before = pictures.get(0)
    solid("red", (64, 64)).save(samples[0].path)
    assert pictures.get(0) != before
    os.utime(samples[0].path, (1, 1))
    pictures.get(0)
    assert len(decoded) == 3


def test_pictures_are_upright(tmp_path, fresh_cache):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "phone.jpg"
    solid("blue", (400, 200)).save(path, exif=exif)
    assert size_of(Thumbnails([Sample("phone.jpg", path, "a")]).get(0)) == (80, 160)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 and then nothing", None])
def test_what_cannot_be_shown_gets_a_sign(tmp_path, fresh_cache, content):
    path = tmp_path / "broken.jpg"
    if content is not None:
        path.write_bytes(content)
    picture = Thumbnails([Sample("broken.jpg", path, "a")]).get(0)
    assert picture == broken(160)
    assert size_of(picture) == (160, 160)


def test_a_name_with_a_zero_byte(fresh_cache):
    assert Thumbnails([Sample("x", Path("a\0b.jpg"), "a")]).get(0, 320) == broken(320)


def test_without_a_cache_pictures_are_made_each_time(samples, decoded, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "file" / "cache"))
    pictures = Thumbnails(samples)
    assert pictures.get(0) == pictures.get(0)
    assert len(decoded) == 2


def test_a_cache_that_is_damaged_is_done_without(samples, fresh_cache):
    fresh_cache.mkdir()
    (fresh_cache / FILE).write_bytes(b"no database" * 1000)
    assert size_of(Thumbnails(samples).get(0)) == (160, 100)
    assert (fresh_cache / FILE).read_bytes() == b"no database" * 1000


def test_the_oldest_leave_when_all_take_too_much(samples, fresh_cache, monkeypatch):
    monkeypatch.setattr(thumbnails, "_MEASURED_EVERY", 1)
    pictures = Thumbnails(samples, most_bytes=60_000)
    for round_ in range(10):
        for i in range(len(samples)):
            os.utime(samples[i].path, (round_, round_))
            pictures.get(i, 320)
    assert 0 < n_kept(fresh_cache) < 20
    assert (fresh_cache / FILE).stat().st_size < 200_000


def test_many_threads_at_once(samples, fresh_cache):
    pictures = Thumbnails(samples)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(pictures.get, [k % 5 for k in range(100)]))
    assert found == found[:5] * 20
    assert n_kept(fresh_cache) == 5
