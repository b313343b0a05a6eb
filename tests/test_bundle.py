"""The bundle's card survives a round trip, and foreign folders are refused."""

import json
from dataclasses import replace

import pytest

from tellapart.bundle import Bundle, Card
from tellapart.data.images import Resize
from tellapart.errors import BundleError
from tellapart.records import Threshold

CARD = Card(
    class_names=("benign", "maligno ñ"),
    preprocessing=Resize(224, "crop", 0.9),
    backbone={"name": "resnet18", "weights": "x", "weights_licence": "BSD", "fingerprint": "ab"},
    config={"epochs": 3},
    temperature=1.25,
    threshold=Threshold(0.3, "maligno ñ", "validation", "Youden's index"),
    parity={"n_images": 64, "max_difference": 1e-7},
    dataset={"fingerprint": "cd", "n_samples": 10, "counts": {"benign": 5, "maligno ñ": 5}},
    versions={"tellapart": "0.1.0"},
)


def test_a_card_survives_the_round_trip():
    assert Card.from_json(CARD.to_json()) == CARD


def test_who_chose_the_threshold_and_its_band_survive_too():
    chosen = Threshold(
        0.2, "maligno ñ", "validation", "by hand", (0.2, 0.6), "ana", "así", "2026-01-02T03:04:05+00:00"
    )
    card = replace(CARD, threshold=chosen)
    assert Card.from_json(card.to_json()) == card


@pytest.mark.parametrize("key", ["class_names", "preprocessing", "format", "temperature"])
def test_a_card_without_something_is_damaged(key):
    values = json.loads(CARD.to_json())
    del values[key]
    with pytest.raises(BundleError, match="damaged"):
        Card.from_json(json.dumps(values))


def test_a_folder_that_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match=r"no model at .*tellapart train DATA --out RUN"):
        Bundle.load(tmp_path)


def test_a_run_folder_leads_to_its_bundle(trained):
    bundle = Bundle.load(trained.folder)
    assert bundle.folder == trained.folder / "model"
    assert Bundle.load(bundle.folder) == bundle
    assert len(bundle.trained_on()) == 56
    assert len(bundle.model_sha256) == 64


def test_a_version_is_the_beginning_of_the_models_digest(trained):
    bundle = Bundle.load(trained.folder)
    assert bundle.version == bundle.model_sha256[:12]
    assert replace(bundle, card=replace(bundle.card, sha256={})).version == bundle.version  # an older bundle
