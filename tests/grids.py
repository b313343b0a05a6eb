"""Studios over many pictures, their journals, and how tests find their way in a grid."""

import numpy as np
import pytest

from browser import expect, opened
from pictures import write_class_folders
from tellapart.audit.findings import Finding
from tellapart.data.dataset import Dataset
from tellapart.data.journal import Journal, journal_path
from tellapart.records import Predictions

N_BENIGN, N_MALIGNANT = 160, 80


@pytest.fixture(scope="module")
def gallery_pictures(tmp_path_factory):
    """Two classes of pictures, of which the first cannot be read; tests bring their own journal."""
    counts = {"benign": N_BENIGN, "malignant": N_MALIGNANT}
    folder = write_class_folders(tmp_path_factory.mktemp("grid") / "photos", counts, suffix=".jpg")
    (folder / "benign" / "000.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture
def gallery(gallery_pictures, tmp_path, monkeypatch):
    """A studio over many pictures, with predictions."""
    monkeypatch.setenv("TELLAPART_JOURNAL", str(tmp_path / "labels.sqlite"))
    with opened(gallery_pictures) as studio:
        lay_predictions(studio.desk.catalog)
        yield studio


@pytest.fixture
def gallery_to_look_at(gallery_pictures, tmp_path, monkeypatch):
    """A studio that writes nothing."""
    monkeypatch.setenv("TELLAPART_JOURNAL", str(tmp_path / "labels.sqlite"))
    with opened(gallery_pictures, read_only=True) as studio:
        yield studio


def lay_predictions(catalog):
    """Of every image, right but for benign 10 to 19; and one suspected label, benign 5."""
    n = len(catalog)
    y_true = (np.arange(n) >= N_BENIGN).astype(np.int64)
    p = np.where(y_true == 1, 0.9, 0.1)
    p[10:20] = 0.8
    ids = tuple(sample.id for sample in catalog.given.samples)
    told = Predictions(ids, y_true, np.stack([1 - p, p], axis=1), ("benign", "malignant"))
    catalog.attach("the run", told, (p >= 0.5).astype(np.int64))
    details = {"label": "benign", "suggested": "malignant", "probability": {"benign": 0.1, "malignant": 0.9}}
    catalog.attach_findings([Finding("suspected label", "warning", "looks malignant", (ids[5],), details)])


def labels(studio):
    """Image -> label of those that the journal corrects."""
    samples = studio.desk.given.samples
    found = Dataset.load(studio.desk.data).samples
    return {new.id: new.label for new, old in zip(found, samples, strict=True) if new.label != old.label}


def events(studio):
    return Journal(journal_path(studio.desk.data)).events()


def cell(page, position):
    return page.locator(f'.cell[aria-posinset="{position + 1}"]')


def cursor_on(page, position):
    return expect(page.locator(".cell.cursor")).to_have_attribute("aria-posinset", str(position + 1))


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def n_columns(page):
    return len({cell.bounding_box()["x"] for cell in page.locator(".cell").all()})


def opened_grid(window, studio, address="/grid", **options):
    page = window(studio, address, **options)
    expect(page.locator(".cell").first).to_be_visible()
    return page
